"""Whose turn it is: the runner with the highest number, which it took before it began.

No file is locked: locks cannot be trusted on the file systems that clusters share.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from batch import whole_file
from batch.errors import TakenOver


@dataclass(frozen=True, slots=True)
class Epochs:
    """The folder in which runners take their numbers."""

    folder: Path

    def highest(self) -> int:
        """Return the highest number that is taken; 0 if none is."""
        # Opening a folder anew is what makes NFS ask its server.
        names = (name for name in os.listdir(self.folder) if name.isascii() and name.isdigit())  # noqa: PTH208 - names, not paths
        return max(map(int, names), default=0)

    def take(self, wanted: int | None = None) -> int:
        """Take the next number, or `wanted`, which must be above all; else `TakenOver`."""
        while True:
            highest = self.highest()
            epoch = highest + 1 if wanted is None else wanted
            if epoch <= highest:
                raise TakenOver(epoch, highest)
            if whole_file.create(self.folder / str(epoch), _owner()):
                return epoch

    def require(self, epoch: int) -> None:
        """Raise `TakenOver` unless this is the highest number still."""
        highest = self.highest()
        if highest > epoch:
            raise TakenOver(epoch, highest)


def _owner() -> bytes:
    return whole_file.packed(
        {"host": socket.gethostname(), "pid": os.getpid(), "at": round(time.time(), 3)}
    )
