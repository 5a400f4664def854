"""A file while it is fetched from a site in pieces, by one controller after the other.

Each piece is written at its own place: two controllers that fetch the same file, one of which was
given up for dead, write the same bytes to the same places.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from compute_functions.contract.batches import FileSum
from resource_server.adapters.stored_files.folder import FETCH, FilesFolder

_BLOCK = 1024 * 1024


def arrived(folder: FilesFolder, file_id: str) -> int:
    """Return how many bytes have come; of a file that is whole, all."""
    for path in (folder.whole(file_id), folder.incoming(file_id, FETCH)):
        if path.exists():
            return path.stat().st_size
    return 0


def put(folder: FilesFolder, file_id: str, offset: int, content: bytes) -> None:
    """Write a piece at its place."""
    folder.require_room(len(content))
    number = os.open(folder.incoming(file_id, FETCH), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        view, place = memoryview(content), offset
        while view:
            written = os.pwrite(number, view, place)
            view, place = view[written:], place + written
    finally:
        os.close(number)


def finish(folder: FilesFolder, file_id: str, expected: FileSum) -> bool:
    """Make it whole if it is what was expected; else forget what came, and return False.

    What is whole is touched: it has no row before its batch is over, and a sweep takes what is old.
    """
    with suppress(FileNotFoundError):
        os.utime(folder.whole(file_id))
        return True
    part = folder.incoming(file_id, FETCH)
    # Of an empty file no piece comes.
    part.touch(mode=0o600)
    if _sum_of(part) != expected:
        part.unlink(missing_ok=True)
        return False
    folder.keep(file_id, part)
    return True


def _sum_of(part: os.PathLike[str]) -> FileSum:
    """Return the sum of what is on the disk, and have it there for good."""
    found, length = hashlib.sha256(), 0
    with open(part, "rb", buffering=0) as file:  # noqa: PTH123 - whatever names a file
        os.fsync(file.fileno())
        while block := file.read(_BLOCK):
            found.update(block)
            length += len(block)
    return FileSum(bytes=length, sha256=found.hexdigest())
