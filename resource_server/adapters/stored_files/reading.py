"""One file while it is read: open, so that who removes it meanwhile cuts nobody off."""

from __future__ import annotations

import os
import threading
from pathlib import Path


class ReadFile:
    """An open file. It blocks.

    It may be closed while another thread reads for somebody who does not wait any more.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()

    def block(self, offset: int, length: int) -> bytes:
        """Return at most so many bytes from there on; none once it is closed."""
        with self._lock:
            if self._file.closed:
                return b""
            return os.pread(self._file.fileno(), length, offset)

    def close(self) -> None:
        """Close it, after what another thread reads right now."""
        with self._lock:
            self._file.close()
