"""The events of one answer that is under way: begun, read to its end, closed in any case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from resource_server.domain import errors
from resource_server.domain.event_stream import EventSplitter
from resource_server.ports import AnswerStream
from resource_server.services.events.reader import EventReader

#: So much of an engine's comments before its first event is kept (bytes); what is more, clients
#: would pass over anyway.
MOST_COMMENTS = 64 * 1024


class EventsUnderWay:
    """Whole events, in order, as the caller gets them: `first`, then `parts`; each call more.

    They end when the engine said that the answer is whole, or that it failed, which `reader` knows.
    If the answer breaks off before, they raise an `UpstreamError`.
    """

    def __init__(self, answer: AnswerStream, reader: EventReader) -> None:
        self.reader = reader
        self.parts = self._read()
        self._answer = answer
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

    async def _take_first(self) -> bytes:
        # Comments alone are no events: they wait for the first one.
        comments = b""
        async for part in self.parts:
            if self.reader.count:
                return comments + part
            if len(comments) + len(part) <= MOST_COMMENTS:
                comments += part
        return comments

    async def _read(self) -> AsyncGenerator[bytes, None]:
        splitter, reader = EventSplitter(), self.reader
        try:
            async for part in self._answer:
                events = splitter.feed(part)
                if events and (shown := reader.take(events)):
                    yield shown
                if reader.error is not None:
                    return
        except errors.UpstreamError:
            # What breaks behind the engine's own end harms nobody.
            if not reader.complete:
                raise
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
