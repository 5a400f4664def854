"""What waits to be sent on a link: frames, put together into as few messages as can be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from compute_functions.contract import frames
from compute_functions.contract.frames import MAX_MESSAGE, Frame

Send = Callable[[bytes], Awaitable[None]]


class Outbox:
    """Sends everything that is ready in one turn of the event loop as one message.

    Without a connection it drops what it is given: the streams keep what has to be sent again. Of
    each stream it holds no more than the stream's window, so it is bounded by them.
    """

    def __init__(self) -> None:
        self._full: deque[list[bytes]] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        self._open = False
        self._news: asyncio.Future[None] | None = None

    def put(self, frame: Frame) -> None:
        """Send a frame, soon."""
        if not self._open:
            return
        size = frames.HEADER_BYTES + len(frame.payload)
        if self._size + size > MAX_MESSAGE:
            self._full.append(self._parts)
            self._parts, self._size = [], 0
        self._parts.append(frames.header(frame))
        self._parts.append(frame.payload)
        self._size += size
        if self._news is not None and not self._news.done():
            # The sender wakes behind all that is ready to run now, and finds their frames as well.
            self._news.set_result(None)

    @asynccontextmanager
    async def flowing(self, send: Send) -> AsyncIterator[None]:
        """Send on a connection for the length of a block."""
        self._open = True
        sender = asyncio.create_task(self._pump(send))
        try:
            yield
        finally:
            self._open = False
            self._full.clear()
            self._parts, self._size = [], 0
            sender.cancel()
            await asyncio.wait({sender})
            if not sender.cancelled():
                sender.result()

    async def _pump(self, send: Send) -> None:
        try:
            while True:
                while message := self._message():
                    await send(message)
                self._news = asyncio.get_running_loop().create_future()
                await self._news
        except ConnectionError:
            return  # Who reads from the same connection hears of its end too, and says so.

    def _message(self) -> bytes:
        if self._full:
            return b"".join(self._full.popleft())
        parts, self._parts, self._size = self._parts, [], 0
        return b"".join(parts)
