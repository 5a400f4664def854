"""Which of a site's functions the gateway calls beside those that carry requests."""

from __future__ import annotations

from enum import StrEnum


class SiteFunction(StrEnum):
    """The names under which functions are registered."""

    RUN_BATCH = "run_batch"
    BATCH_FILE = "batch_file"
