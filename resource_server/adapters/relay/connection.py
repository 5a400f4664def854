"""One WebSocket of a relay, as its link uses it: what is said leaves by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp import web

from resource_server.adapters.relay.outbox import Outbox
from resource_server.adapters.relay.traffic import Traffic
from resource_server.adapters.relay.upload import Upload

#: The most bytes of a reason that a WebSocket's last frame holds.
_REASON_BYTES = 123


class Connection:
    """Sends while `run` runs; nothing else here waits for the relay."""

    def __init__(
        self, socket: web.WebSocketResponse, *, abort: Callable[[], None], traffic: Traffic
    ) -> None:
        self._socket = socket
        self._abort = abort
        self._traffic = traffic
        self._outbox = Outbox()
        self._ending = (0, b"")

    def put(self, frame: bytes) -> None:
        """Send a frame."""
        self._outbox.put(frame)

    def add(self, upload: Upload) -> None:
        """Send a request and its body."""
        self._outbox.add(upload)

    @property
    def closing(self) -> bool:
        """Whether we have decided to end it."""
        return bool(self._ending[0])

    def close(self, code: int, reason: str) -> None:
        """Close the WebSocket after the frames that were put before; bodies are left."""
        self._ending = (code, reason.encode()[:_REASON_BYTES])
        self._outbox.close()

    def abort(self) -> None:
        """Drop the connection at once, which the reader notices."""
        self._abort()

    def look_at_end(self, task: asyncio.Task[None]) -> None:
        """Drop the connection if what sent on it has failed."""
        if not task.cancelled() and task.exception() is not None:
            self._abort()

    async def run(self) -> None:
        """Send until the connection is closed by us, or breaks, which the reader notices."""
        try:
            await self._outbox.run(self._send)
            code, reason = self._ending
            await self._socket.close(code=code, message=reason)
        except (aiohttp.ClientConnectionError, ConnectionError):
            self._abort()

    async def _send(self, message: bytes) -> None:
        self._traffic.to_site += len(message)
        await self._socket.send_bytes(message)
