"""One runner's part of the journal: a file that only grows, and only by whole syncs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from batch import whole_file
from batch.errors import DiskFailed

_SUFFIX = ".journal"
_LEFT = ".left"


def path_of(folder: Path, epoch: int) -> Path:
    """Return the file of an epoch's segment."""
    return folder / f"{epoch}{_SUFFIX}"


def mark_left(folder: Path, epoch: int) -> None:
    """Say that a segment's runner ended by itself, where the segment takes no record of that.

    By a second name for the segment: on a disk that is full there is room for no more.
    """
    os.link(path_of(folder, epoch), _mark_of(folder, epoch))
    whole_file.sync_folder(folder)


def has_left(folder: Path, epoch: int) -> bool:
    """Whether a segment's runner said so."""
    return _mark_of(folder, epoch).exists()


def _mark_of(folder: Path, epoch: int) -> Path:
    return folder / f"{epoch}{_LEFT}"


def epochs_in(folder: Path) -> list[int]:
    """Return the epochs that have a segment, the lowest first."""
    names = (name.removesuffix(_SUFFIX) for name in os.listdir(folder) if name.endswith(_SUFFIX))  # noqa: PTH208 - names, not paths
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


class SegmentWriter:
    """The segment of an epoch, made by its runner, who alone writes to it.

    After a failure it takes nothing any more: what a disk that failed once has of the last bytes
    nobody knows, and a second sync would hide the first one's error.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._failed: OSError | None = None
        self.size = 0

    @classmethod
    def create(cls, folder: Path, epoch: int) -> Self:
        """Make the file, which must not be there."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        descriptor = os.open(path_of(folder, epoch), flags, 0o600)
        whole_file.sync_folder(folder)
        return cls(descriptor)

    def write(self, content: bytes) -> None:
        """Append, and return when it lasts. `DiskFailed` for this and every later call if not."""
        if self._failed is not None:
            raise DiskFailed(str(self._failed)) from self._failed
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
        except OSError as error:
            self._failed = error
            raise DiskFailed(str(error)) from error
        self.size += len(content)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def read(folder: Path, epoch: int, *, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield where each line of a segment begins, and the line, up to the byte `end`.

    A line need not hold, and the last one may be torn.
    """
    offset = 0
    with path_of(folder, epoch).open("rb") as file:
        for content in file:
            if end is not None and offset + len(content) > end:
                content = content[: end - offset]  # noqa: PLW2901 - what holds of it
            if not content:
                return
            yield offset, content
            offset += len(content)
