"""The events of one answer that is under way: begun, read to its end, closed in any case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from resource_server.domain import errors
from resource_server.domain.event_stream import EventSplitter
from resource_server.ports import AnswerStream
from resource_server.services.events.reader import EventReader

#: So much of an engine's comments before its first event is kept (bytes); what is more, clients
#: would pass over anyway.
MOST_COMMENTS = 64 * 1024
#: Behind its last event an engine may take so long to end its answer (seconds): it writes both at
#: once, so that this is the way to it and time to spare. Its connection can then be used again.
END_WITHIN_S = 0.5


class EventsUnderWay:
    """Whole events, in order, as the caller gets them: `first`, then `parts`; each call more.

    They end when the engine said that the answer is whole, or that it failed, which `reader` knows.
    If the answer breaks off before, they raise an `UpstreamError`. An engine that has said that it
    is whole is given `end_within_s` by `aclose` to end it too.
    """

    def __init__(
        self, answer: AnswerStream, reader: EventReader, *, end_within_s: float = END_WITHIN_S
    ) -> None:
        self.reader = reader
        self.parts = self._read()
        self._source = aiter(answer)
        self._end_within_s = end_within_s
        self._first: asyncio.Task[bytes] | None = None

    async def begin(self, *, within_s: float) -> bool:
        """Wait for the first events, but not for ever; tell whether there are any.

        Raises what made them fail meanwhile.
        """
        self._first = asyncio.create_task(self._take_first(), name="first event")
        # Not cancelled when the time is over: it goes on until somebody reads `first`.
        done, _ = await asyncio.wait({self._first}, timeout=within_s)
        return bool(done and self._first.result())

    async def first(self) -> bytes:
        """Return the first events, as soon as there are any."""
        return await self._first if self._first is not None else await self._take_first()

    async def aclose(self) -> None:
        """Read no more; the answer itself is closed by whoever opened it."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.wait({self._first})
            _look_at(self._first)
        await self.parts.aclose()
        if self.reader.complete and self.reader.error is None:
            await self._see_off()

    async def _take_first(self) -> bytes:
        # Comments alone are no events: they wait for the first one.
        comments = b""
        async for part in self.parts:
            if self.reader.count:
                return comments + part
            if len(comments) + len(part) <= MOST_COMMENTS:
                comments += part
        return comments

    async def _see_off(self) -> None:
        """Read on to the end of a whole answer, which nobody waits for any more."""
        # What breaks behind the engine's own end harms nobody.
        with suppress(TimeoutError, errors.UpstreamError):
            async with asyncio.timeout(self._end_within_s):
                async for _ in self._source:
                    pass

    async def _read(self) -> AsyncGenerator[bytes, None]:
        splitter, reader = EventSplitter(), self.reader
        async for part in self._source:
            events = splitter.feed(part)
            if events and (shown := reader.take(events)):
                yield shown
            if reader.complete or reader.error is not None:
                # An engine that keeps its connection open keeps nobody waiting.
                return
        if shown := self._unended(splitter.rest):
            yield shown
        if not reader.complete:
            raise errors.BackendInterrupted

    def _unended(self, rest: bytes) -> bytes:
        """Return a last event whose blank line the engine left out; else nothing of it is shown."""
        shown = self.reader.take([rest]) if rest else b""
        return shown if self.reader.complete else b""


def _look_at(task: asyncio.Task[bytes]) -> None:
    """Take note of a failure that nobody was left to hear of; else asyncio complains."""
    if not task.cancelled():
        task.exception()
