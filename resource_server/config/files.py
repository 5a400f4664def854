"""Files and batches: where uploaded files are, and how much anybody may keep."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

#: No file of a batch is larger (bytes): `compute_functions.contract.batches.MOST_FILE`.
LARGEST_FILE_BYTES = 1 << 40


class FileSettings(BaseModel):
    """What people store for batches."""

    files_dir: Path | None = Field(
        None,
        description="Directory of the files that people upload and that batches leave; web "
        "processes and controller share it, also those of other hosts. By default `files` in the "
        "state directory. Created if absent, for us alone.",
    )
    files_max_bytes: int = Field(
        200_000_000,
        gt=0,
        le=LARGEST_FILE_BYTES,
        description="Largest file that anybody may upload, in bytes.",
    )
    files_max_result_bytes: int = Field(
        4_294_967_296,
        gt=0,
        le=LARGEST_FILE_BYTES,
        description="Largest result of a batch that is fetched from its site, in bytes; "
        "4294967296 is 4 GiB. Of a larger one the batch says where it is.",
    )
    files_upload_timeout_s: float = Field(
        3600.0,
        gt=0,
        description="Seconds within which an uploaded file must be here, once it began to come.",
    )
    files_quota_bytes: int = Field(
        2_000_000_000,
        gt=0,
        description="Bytes of all files of one person, with what batches left; who has more can "
        "upload nothing, but gets the results of batches.",
    )
    files_quota_count: int = Field(1_000, gt=0, description="Files of one person.")
    files_keep_s: float = Field(
        2_592_000.0,
        ge=3600,
        description="Seconds for which files are kept where nobody asks for less; 2592000 is "
        "30 days.",
    )
    files_reserve_bytes: int = Field(
        1_000_000_000,
        ge=0,
        description="Bytes that stay free on the disk of `files_dir`: nothing is stored beyond.",
    )
    batch_keep_s: float = Field(
        7_776_000.0,
        ge=86_400,
        description="Seconds for which batches are kept after their end, with their idempotency "
        "keys; 7776000 is 90 days. One of which a file is still there is kept longer.",
    )
    batch_longest_window_s: float = Field(
        604_800.0,
        ge=86_400,
        le=2_592_000,
        description="Longest completion window of a batch, in seconds; `24h` can be asked for "
        "in any case.",
    )
