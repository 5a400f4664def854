"""How requests wait for models that are started for them."""

from __future__ import annotations

from pydantic import BaseModel, Field


class LifecycleSettings(BaseModel):
    """Bounds of waiting, for each process that serves HTTP."""

    wait_most_per_model: int = Field(
        500, ge=1, description="Requests that wait for one model at once, in each web process."
    )
    wait_most_per_person: int = Field(
        50, ge=1, description="Requests of one person that wait at once, in each web process."
    )
    wait_most_bytes: int = Field(
        268_435_456,
        ge=0,
        description="Bytes of the bodies of all requests that wait, in each web process, which "
        "holds 512 MiB of bodies at the most.",
    )
    wait_most_bytes_per_person: int = Field(
        67_108_864,
        ge=0,
        description="Bytes of the bodies of one person's requests that wait, in each web process.",
    )
    wait_stream_s: float = Field(
        3600.0,
        ge=1,
        le=86_400,
        description="Seconds for which a stream waits for its model; answers in one piece wait for "
        "their cluster's `request_timeout_s`.",
    )
    wait_unreached_s: float = Field(
        60.0,
        ge=1,
        le=86_400,
        description="Seconds for which requests wait for an instance that is ready and that none "
        "reaches; then they get 503.",
    )
