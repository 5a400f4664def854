"""Files on a disk, from asynchronous code: all that may block runs in a thread."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import structlog

from compute_functions.contract.batches import FileSum
from resource_server.adapters.stored_files import fetched
from resource_server.adapters.stored_files.folder import FETCH, FilesFolder
from resource_server.adapters.stored_files.reading import ReadFile
from resource_server.adapters.stored_files.upload import UploadedFile
from resource_server.domain import errors

log = structlog.get_logger()

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

#: What is read at once, and gathered before it is written (bytes).
BLOCK = 1024 * 1024
#: Seconds for one act on the disk, of which the longest is the sum of a large file.
DISK_S = 600.0
#: So many acts on the disk at once in one process.
THREADS = 8
#: What has no row for so long was left behind by a crash (seconds). An upload that goes on is
#: changed all the time, and has its row within seconds of its end.
LEFT_AFTER_S = 3600.0
#: What is fetched may wait for its site for days, but not for ever (seconds).
FETCH_LEFT_AFTER_S = 30 * 86_400.0
#: Of so many whole files at once it is asked whether they have rows.
ASKED_AT_ONCE = 500


class StoredFiles:
    """A `batch_ports.StoredBytes` in a folder, of which `reserve_bytes` of its disk stay free."""

    def __init__(
        self, root: Path, *, reserve_bytes: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = FilesFolder(root, reserve_bytes=reserve_bytes)
        self._clock = clock

    async def write(
        self, file_id: str, content: AsyncIterator[bytes], *, most_bytes: int
    ) -> FileSum:
        """Store a file whole, or not at all."""
        file = await _in_thread(self._begun, file_id, most_bytes)
        try:
            async for block in _gathered(content):
                await _in_thread(file.add, block)
            return await _in_thread(file.keep)
        finally:
            # Also for a caller who is cancelled: it waits for what still runs in a thread.
            await asyncio.shield(_in_thread(file.__exit__, None, None, None))

    async def read(self, file_id: str, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes; one that is removed meanwhile is read to its end."""
        file = await _in_thread(ReadFile, self._folder.whole(file_id))
        try:
            while block := await _in_thread(file.block, offset, BLOCK):
                offset += len(block)
                yield block
        finally:
            await asyncio.shield(_in_thread(file.close))

    async def piece(self, file_id: str, offset: int, length: int) -> bytes:
        """Return at most so many of its bytes."""
        return await _in_thread(self._piece, file_id, offset, length)

    async def exists(self, file_id: str) -> bool:
        """Tell whether it is there."""
        return await _in_thread(self._folder.whole(file_id).exists)

    async def remove(self, file_id: str) -> None:
        """Remove it, if it is there."""
        await _in_thread(self._remove, file_id)

    async def arrived(self, file_id: str) -> int:
        """Return how many bytes have come of a file that is fetched in pieces."""
        return await _in_thread(fetched.arrived, self._folder, file_id)

    async def put(self, file_id: str, offset: int, content: bytes) -> None:
        """Write a piece of such a file at its place."""
        await _in_thread(fetched.put, self._folder, file_id, offset, content)

    async def finish(self, file_id: str, expected: FileSum) -> bool:
        """Make it a whole file if its sum is right; else begin anew, and return False."""
        return await _in_thread(fetched.finish, self._folder, file_id, expected)

    async def sweep(self, known: Callable[[Collection[str]], Awaitable[Collection[str]]]) -> int:
        """Remove what was left by crashes; return how many files."""
        removed = await _in_thread(self._remove_parts)
        old = await _in_thread(self._old_whole_ids)
        for begin in range(0, len(old), ASKED_AT_ONCE):
            some = old[begin : begin + ASKED_AT_ONCE]
            for file_id in set(some) - set(await known(some)):
                removed += await _in_thread(self._remove_old, file_id)
        if removed:
            log.info("files_swept", files=removed)
        return removed

    def _begun(self, file_id: str, most_bytes: int) -> UploadedFile:
        return UploadedFile(self._folder, file_id, most_bytes=most_bytes).__enter__()

    def _piece(self, file_id: str, offset: int, length: int) -> bytes:
        with self._folder.whole(file_id).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)

    def _remove(self, file_id: str) -> None:
        with suppress(FileNotFoundError):
            self._folder.whole(file_id).unlink()

    def _remove_parts(self) -> int:
        now, removed = self._clock(), 0
        for part, changed_at in self._folder.parts():
            kept_s = FETCH_LEFT_AFTER_S if part.suffix == FETCH else LEFT_AFTER_S
            if now - changed_at > kept_s:
                part.unlink(missing_ok=True)
                removed += 1
        return removed

    def _old_whole_ids(self) -> list[str]:
        before = self._clock() - LEFT_AFTER_S
        return [file_id for file_id, changed_at in self._folder.whole_ids() if changed_at < before]

    def _remove_old(self, file_id: str) -> int:
        """Remove a whole file unless somebody has touched it since the look; return how many."""
        with suppress(FileNotFoundError):
            if self._folder.changed_at(file_id) < self._clock() - LEFT_AFTER_S:
                self._folder.whole(file_id).unlink()
                return 1
        return 0


async def _gathered(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the same in larger blocks: each is a thread's work."""
    held = bytearray()
    async for piece in content:
        held += piece
        if len(held) >= BLOCK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


@cache
def _threads() -> ThreadPoolExecutor:
    """Return threads for files alone: in asyncio's own, names of hosts are looked up.

    So a disk that hangs holds up no request to a model.
    """
    return ThreadPoolExecutor(THREADS, thread_name_prefix="files")


async def _in_thread(
    function: Callable[[*_Arguments], _Result], *arguments: *_Arguments
) -> _Result:
    """Run what may block; a disk that does not answer is one that cannot be used."""
    try:
        async with asyncio.timeout(DISK_S):
            call = partial(function, *arguments)
            return await asyncio.get_running_loop().run_in_executor(_threads(), call)
    except OSError as error:
        # The path and the reason are for the operators.
        log.error("files_unavailable", reason=str(error))  # noqa: TRY400 - the reason is the story
        raise errors.FilesUnavailable from error
