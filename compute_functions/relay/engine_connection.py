"""One connection to an engine: a call, its answer as it comes, and then the next call."""

from __future__ import annotations

import asyncio
from typing import cast

from compute_functions.errors import CallFailed, EngineBrokeOff, EngineUnreachable
from compute_functions.relay.engine_wire import Head, read_head

#: So much is read at once (bytes).
READ_BYTES = 32 * 1024
#: So much of an answer may wait here; then the engine is not read from (bytes).
MOST_WAITING = 128 * 1024


class NeverRead(EngineUnreachable):
    """The engine had closed the connection before the whole request was written to it."""


class EngineConnection(asyncio.BufferedProtocol):
    """Speaks with the engine; whoever made a call reads its answer, or aborts the connection.

    It reads into a buffer of its own: asyncio would make one of 256 KiB for each token.
    """

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(READ_BYTES))
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._head: Head | None = None
        self._unread: list[bytes] = []
        self._waiting = 0
        self._beginning = b""
        self._paused = False
        self._failure: Exception | None = None
        self._news: asyncio.Future[None] | None = None

    # What asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override] # `override` is younger than Python 3.11
        """Take note of the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # type: ignore[explicit-override] # likewise
        """Return where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:  # type: ignore[explicit-override] # likewise
        """Take what the engine says."""
        try:
            self._take(bytes(self._buffer[:nbytes]))
        except EngineBrokeOff as error:
            self._fail(error)
            self.abort()
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:  # type: ignore[explicit-override] # likewise
        """Take note of the end; for some answers it is theirs."""
        self._transport = None
        body = None if self._head is None else self._head.body
        if body is None or not (body.done or (exc is None and body.end())):
            self._fail(_hung_up(exc))
        self._tell()

    # What callers do

    @property
    def usable(self) -> bool:
        """Whether another call can be made."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def finished(self) -> bool:
        """Whether the answer was read to its end, and the engine takes another call.

        One that has answered before it read all of the request need never read the rest.
        """
        head, transport = self._head, self._transport
        if transport is None or transport.is_closing() or head is None or self._unread:
            return False
        return head.keeps and head.body.done and not transport.get_write_buffer_size()

    async def call(self, head: bytes, body: bytes) -> Head:
        """Send a request; return how its answer begins, which may come before all is sent."""
        if self._transport is None:
            raise NeverRead("hung up")
        self._head, self._beginning = None, b""
        if len(body) <= MOST_WAITING:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        return await self._begun()

    async def _begun(self) -> Head:
        while self._head is None:
            await self._wait()
        return self._head

    async def read(self) -> bytes:
        """Return what has come of the answer's body since; nothing at its end."""
        while not self._unread:
            if self._head is not None and self._head.body.done:
                return b""
            await self._wait()
        data = self._unread[0] if len(self._unread) == 1 else b"".join(self._unread)
        self._unread.clear()
        self._waiting = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def abort(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    # Inside

    def _take(self, data: bytes) -> None:
        if self._head is None:
            read = read_head(self._beginning + data)
            if read is None:
                self._beginning += data
                return
            self._head, data = read
        elif self._head.body.done:
            raise EngineBrokeOff("the engine says something that was not asked for")
        for part in self._head.body.feed(data):
            self._unread.append(part)
            self._waiting += len(part)
        if self._waiting > MOST_WAITING and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _wait(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._news = asyncio.get_running_loop().create_future()
        await self._news


def _hung_up(error: Exception | None) -> CallFailed:
    kind = NeverRead if isinstance(error, BrokenPipeError) else EngineBrokeOff
    return kind(f"hung up: {error}" if error else "hung up")
