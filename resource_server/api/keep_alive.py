"""Writes a stream to a client, and a comment whenever the stream has been silent for long.

Comments of server-sent events are passed over by every client, and keep the proxies between it and
us from taking the connection for dead.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from resource_server.api.answer import PART_BYTES, write
from resource_server.api.exchange import Exchange

#: A stream is silent for so long at the most (seconds).
KEEP_ALIVE_S = 10.0
KEEP_ALIVE = b": keep-alive\n\n"


class KeptAlive:
    """The way to a client, within an `async with` block."""

    def __init__(self, exchange: Exchange, *, every_s: float = KEEP_ALIVE_S) -> None:
        self._exchange = exchange
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._writing = False
        self._comment: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(every_s, self._look)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()
            await asyncio.wait({self._comment})
            if not self._comment.cancelled():
                # Its failure is the client's absence, of which the exchange knows.
                self._comment.exception()

    async def write(self, events: bytes) -> None:
        """Write whole events; returns when the connection takes the next ones."""
        if self._comment is not None:
            await self._end_comment(self._comment)
        self._writing = True
        try:
            if len(events) <= PART_BYTES:
                await self._exchange.write(events, more=True)
            else:
                await write(self._exchange, events, more=True)
        finally:
            self._writing = False
            self._last = self._loop.time()

    async def _end_comment(self, comment: asyncio.Task[None]) -> None:
        # Waited for and not awaited: who is cancelled here must leave it whole.
        await asyncio.wait({comment})
        self._comment = None
        comment.result()

    def _look(self) -> None:
        # Looks once in a while, so that an event costs no timer.
        due = self._last + self._every_s
        now = self._loop.time()
        if not self._writing and due <= now and (self._comment is None or self._comment.done()):
            self._comment = self._loop.create_task(self._write_comment(), name="keep-alive")
            due = now + self._every_s
        self._timer = self._loop.call_at(max(due, now + self._every_s / 10), self._look)

    async def _write_comment(self) -> None:
        await self._exchange.write(KEEP_ALIVE, more=True)
        self._last = self._loop.time()
