"""What one person may ask for, and how much at once."""

from __future__ import annotations

from pydantic import BaseModel, Field

#: No setting and no rule lets anybody send more at once: two such bodies fill a process.
LARGEST_BODY_BYTES = 256 * 1024 * 1024


class LimitSettings(BaseModel):
    """Limits that hold where no file says something else."""

    limit_requests_per_minute: int = Field(
        0, ge=0, description="Requests per minute of one person; 0 does not limit."
    )
    limit_requests_per_minute_per_key: int = Field(
        0, ge=0, description="Requests per minute with one key or token; 0 does not limit."
    )
    limit_tokens_per_minute: int = Field(
        0, ge=0, description="Tokens per minute of one person, in and out; 0 does not limit."
    )
    limit_tokens_per_minute_per_model: int = Field(
        0, ge=0, description="Tokens per minute of one person with one model; 0 does not limit."
    )
    limit_concurrent_requests: int = Field(
        0, ge=0, description="Requests of one person at once; 0 does not limit."
    )
    limit_batch_requests_per_minute: int = Field(
        600,
        ge=0,
        description="Requests per minute of one person about files and batches, which are counted "
        "apart from those to models; 0 does not limit.",
    )
    max_body_bytes: int = Field(
        10_000_000,
        gt=0,
        le=LARGEST_BODY_BYTES,
        description="Largest request body accepted, in bytes; 256 MiB at the most.",
    )
    max_upload_bytes: int = Field(
        26_500_000,
        gt=0,
        le=LARGEST_BODY_BYTES,
        description="Largest body of an audio route, in bytes; a file of 25 MiB fits by default.",
    )
