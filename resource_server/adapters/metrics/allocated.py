"""A file of metrics whose every byte has its place on the disk before it is written to.

The client library maps files into memory that have holes, and a process that writes into a hole on
a full disk is killed (SIGBUS).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import structlog
from prometheus_client.mmap_dict import MmapedDict
from typing_extensions import override

log = structlog.get_logger()

#: What the library begins with; it doubles the file when that is full (bytes).
FIRST_SIZE = 1 << 16


class AllocatedDict(MmapedDict):
    """The library's dictionary in a file, on a disk that may be full.

    Without room for the file, it is kept in memory, where no other process sees it. Without room
    to grow, series that are new are left out of it until there is room: the library keeps their
    values, and hands the whole value over with each change.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self._short_of_room = False
        try:
            _allocate(filename, FIRST_SIZE)
        except OSError as error:
            log.warning("metrics_not_shared", file=filename, reason=str(error))
            with open(os.memfd_create("metrics"), "rb") as file:  # noqa: PTH123 - it has no path
                filename = _path_of(file.fileno())
                super().__init__(filename, read_mode)  # type: ignore[no-untyped-call] # by the library
        else:
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call] # likewise

    @override
    def read_value(self, key: str) -> tuple[float, float]:
        if not self._has_room_for(key):
            return 0.0, 0.0
        value, timestamp = super().read_value(key)  # type: ignore[no-untyped-call] # likewise
        return float(value), float(timestamp)

    @override
    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if self._has_room_for(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call] # likewise

    def holds(self, keys: Iterable[str]) -> bool:
        """Tell whether all of these were written to the file."""
        return all(key in self._positions for key in keys)

    def _has_room_for(self, key: str) -> bool:
        """Tell whether there is room for a series, having made some if need be."""
        if key in self._positions:
            return True
        size = self._capacity
        # Its length, its padding and two numbers take less than this.
        while self._used + len(key.encode()) + 32 > size:
            size *= 2
        try:
            _allocate(_path_of(self._f.fileno()), size)
        except OSError as error:
            if not self._short_of_room:
                log.warning("metrics_left_out", reason=str(error))
            self._short_of_room = True
            return False
        self._short_of_room = False
        return True


def _allocate(path: str, size: int) -> None:
    """Have the file be so long at least, without holes, or raise `OSError`."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(file).st_size
        try:
            os.posix_fallocate(file, 0, size)
        except OSError:
            # A part that did find room is of no use.
            os.ftruncate(file, before)
            raise
    finally:
        os.close(file)


def _path_of(file: int) -> str:
    """Return a path of an open file, also of one that was removed or never had one."""
    return str(Path("/proc/self/fd") / str(file))
