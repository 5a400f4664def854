"""Files with secrets that more people may read than need to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog

log = structlog.get_logger()

#: The group may read: that is how secrets are mounted for a service that runs as another user.
OTHERS = 0o007


def warn_if_open(files: Iterable[Path | None]) -> None:
    """Write one line to the log for each file that everybody on this machine may read."""
    for file in files:
        if file is not None and file.exists() and file.stat().st_mode & OTHERS:
            log.warning("secret_file_open_to_others", path=str(file))
