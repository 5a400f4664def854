"""A connection for tests that must choose every byte, or leave at the wrong moment."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

PATIENCE_S = 10


class RawClient:
    """One TCP connection to a server on the loopback; closed with the `with` block."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Open a connection that buffers little, so that what is not read stays at the server."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        return cls(reader, writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, head: str, body: bytes = b"") -> None:
        """Send lines of a request's head, without the empty one after them, and a body."""
        self._writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await self._writer.drain()

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read a response's status and headers."""
        async with asyncio.timeout(PATIENCE_S):
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split()[1]), headers

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """Read a response that declares its length."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE_S):
            return status, headers, await self._reader.readexactly(int(headers["content-length"]))

    async def read_until(self, end: bytes) -> bytes:
        """Read up to and with these bytes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readuntil(end)

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()
