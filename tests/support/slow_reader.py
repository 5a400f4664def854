"""A client that reads a byte a second, on a connection that takes next to nothing ahead of it."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Self

from tests.support.faults import Reading, Streams, asking

#: The least that Linux gives (bytes).
_LEAST_BUFFER = 2304


class SlowReader:
    """One connection; what it has read becomes a `Reading` that can be judged."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.came = bytearray()
        self._socket = socket.socket()
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def ask(self, plant: Streams, **asked: Any) -> None:
        """Connect and ask for a stream."""
        content = json.dumps(asking(tag=self.tag, **asked)).encode()
        head = (
            f"POST {plant.route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Authorization: Bearer {plant.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LEAST_BUFFER)
        self._socket.setblocking(False)
        port = int(plant.gateway.url.rsplit(":", 1)[1])
        await self._loop.sock_connect(self._socket, ("127.0.0.1", port))
        await self._loop.sock_sendall(self._socket, head.encode() + content)

    async def read_slowly(self, seconds: int) -> None:
        """Read a byte each second."""
        for _ in range(seconds):
            await self._read(1)
            await asyncio.sleep(1)

    async def read_rest(self) -> Reading:
        """Read on as fast as can be, to the end, and return all that came."""
        cut = False
        try:
            while await self._read(2**16):
                pass
        except ConnectionError:
            cut = True
        reading = Reading(self.tag)
        head, _, body = bytes(self.came).partition(b"\r\n\r\n")
        reading.status = int(head.split(b" ", 2)[1])
        text, whole = unchunked(body)
        reading.body += text
        reading.cut = cut or not whole
        return reading

    async def _read(self, most: int) -> int:
        async with asyncio.timeout(30):
            data = await self._loop.sock_recv(self._socket, most)
        self.came += data
        return len(data)


def unchunked(body: bytes) -> tuple[bytes, bool]:
    """Return what the chunks hold, as far as they came, and whether the last one did."""
    text, at = bytearray(), 0
    while (end := body.find(b"\r\n", at)) >= 0:
        size = int(body[at:end], 16)
        if not size:
            return bytes(text), True
        text += body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
    return bytes(text), False
