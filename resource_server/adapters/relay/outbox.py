"""What waits to be sent on one connection: all that is ready leaves in one message."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from compute_functions.contract.frames import MAX_MESSAGE
from resource_server.adapters.relay.upload import Upload


class Outbox:
    """Frames first, since they are small; then a piece of each request's body in turn.

    Frames cannot pile up: there is one for each quarter of a window that a relay sent, and the few
    of each request.
    """

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._uploads: deque[Upload] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def put(self, frame: bytes) -> None:
        """Send a frame, behind those that were put before."""
        self._frames.append(frame)
        self._wake()

    def add(self, upload: Upload) -> None:
        """Send a request, and its body piece by piece."""
        self._uploads.append(upload)
        self._wake()

    def close(self) -> None:
        """Let `run` return once the frames that were put have left."""
        self._closed = True
        self._wake()

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send until closed; raises what sending raises."""
        while True:
            # One turn of the loop later than the first frame: what else is said by then joins it.
            message = self._message()
            if message:
                await send(message)
            elif self._closed:
                return
            else:
                await self._something()

    async def _something(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _message(self) -> bytes:
        """Return what is ready, as much as a message may hold."""
        parts: list[bytes] = []
        room = MAX_MESSAGE
        while self._frames and len(self._frames[0]) <= room:
            parts.append(self._frames.popleft())
            room -= len(parts[-1])
        if self._uploads and not self._frames and not self._closed:
            self._add_requests(parts, room)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _add_requests(self, parts: list[bytes], room: int) -> None:
        """Add the next piece of each request, as long as there is room."""
        for _ in range(len(self._uploads)):
            upload = self._uploads[0]
            piece = upload.take(room)
            if not piece and upload.pending:
                return
            self._uploads.popleft()
            if piece:
                parts.append(piece)
                room -= len(piece)
            if upload.pending:
                self._uploads.append(upload)
