"""The journal as its runner writes it: answers come, and are recorded together, a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from batch import errors
from batch.disk_thread import DiskThread
from batch.journal.record import Answer, Asked, Counted, Left, Seal, Tries, pack
from batch.journal.recorded import Place, Recorded
from batch.journal.segment import SegmentWriter

#: An answer waits so long for others before all are written and synced (seconds).
GATHER_S = 0.5
#: So much is written at once without more waiting, and so much more may wait (bytes).
MUCH = 8 * 1024**2
TOO_MUCH = 2 * MUCH


class _Waiting(NamedTuple):
    content: bytes
    counted: Counted | None


class Journal:
    """Takes records on the event loop, and writes them in a thread.

    A line counts as recorded when its record is synced, never before. `may_write` raises when this
    runner must not write any more; it is asked before every write-out, in the thread.
    """

    def __init__(
        self,
        *,
        epoch: int,
        writer: SegmentWriter,
        recorded: Recorded,
        disk: DiskThread,
        may_write: Callable[[], None],
    ) -> None:
        self._epoch = epoch
        self._writer = writer
        self._recorded = recorded
        self._disk = disk
        self._may_write = may_write
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._something = asyncio.Event()
        self._much = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._failure: errors.BatchError | None = None

    @property
    def crowded(self) -> bool:
        """Whether the disk is so far behind that no more should be begun."""
        return self._bytes > TOO_MUCH

    def answered(self, answer: Answer) -> None:
        """Take what came of a line."""
        counted = Counted(answer.line, answer.problem is None, answer.use.tokens)
        self._take(_Waiting(pack(answer), counted))

    def tried(self, tries: Tries) -> None:
        """Take that a line was tried in vain."""
        self._take(_Waiting(pack(tries), None))

    async def asked(self, line: int) -> None:
        """Take that a line is about to be asked, and return when that lasts."""
        self._take(_Waiting(pack(Asked(line=line)), None))
        await self.flush()

    async def leave(self) -> None:
        """End: nothing that was asked is untold."""
        self._take(_Waiting(pack(Left()), None))
        await self.flush()

    async def seal(self, seal: Seal) -> None:
        """Begin: say what holds of the earlier segments."""
        self._take(_Waiting(pack(seal), None))
        await self.flush()

    async def keep_flushing(self) -> None:
        """Write out what came, again and again; ends with an error only."""
        while True:
            await self._something.wait()
            try:
                async with asyncio.timeout(GATHER_S):
                    await self._much.wait()
            except TimeoutError:
                pass  # Not much came: what did has waited long enough.
            await self.flush()

    async def flush(self) -> None:
        """Write and sync all that came until now; `DiskFailed` and `TakenOver` say it is not.

        Whoever is cancelled meanwhile leaves it to its end: what the disk has must be known here.
        """
        flush = asyncio.create_task(self._flush())
        # Its error is kept, and raised by every later flush, should nobody wait for this one.
        flush.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(flush)

    async def _flush(self) -> None:
        async with self._one_at_a_time:
            if self._failure is not None:
                raise self._failure
            try:
                await self._write_out()
            except errors.BatchError as error:
                self._failure = error
                raise

    async def _write_out(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        self._something.clear()
        self._much.clear()
        if not waiting:
            return
        content = b"".join(one.content for one in waiting)
        offset = await self._disk.do(lambda: self._write(content))
        for one in waiting:
            if one.counted is not None:
                place = Place(self._epoch, offset, len(one.content))
                self._recorded.add(one.counted, place)
            offset += len(one.content)

    def _write(self, content: bytes) -> int:
        self._may_write()
        offset = self._writer.size
        self._writer.write(content)
        return offset

    def _take(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._bytes += len(waiting.content)
        self._something.set()
        if self._bytes > MUCH:
            self._much.set()
