"""Images that requests name by address."""

from __future__ import annotations

from pydantic import BaseModel, Field

from resource_server.config.lists import Numbers, Words


class ImageSettings(BaseModel):
    """Which images are fetched."""

    images_fetch: bool = Field(
        default=True,
        description="Whether images that requests name by https address are fetched; "
        "without it only data URLs are taken.",
    )
    images_max_bytes: int = Field(5_000_000, gt=0, description="Largest image fetched, in bytes.")
    images_max_request_bytes: int = Field(
        7_000_000,
        gt=0,
        description="Bytes of all images fetched for one request. Globus Compute carries 10 MB, "
        "and an image grows by a third on the way.",
    )
    images_max_count: int = Field(16, gt=0, description="Images fetched for one request.")
    images_timeout_s: float = Field(
        20.0, gt=0, le=300, description="Seconds for fetching all images of one request."
    )
    images_hosts: Words = Field(
        (),
        description="Hosts from which images are fetched, comma-separated; `*.example.org` is "
        "every host below one. None allows every host on the public internet.",
    )
    images_ports: Numbers = Field(
        (443,), description="Ports from which images are fetched, comma-separated."
    )
