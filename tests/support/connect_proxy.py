"""An HTTP proxy that knows CONNECT and nothing else, as centres have at their border."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.stream_server import stream_server


class ConnectProxy:
    """Joins callers with whom they name, if they give the password; notes whom they asked for."""

    def __init__(self, password: str = "") -> None:
        self.asked: list[str] = []
        self._wanted = base64.b64encode(password.encode()).decode() if password else ""
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one caller."""
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._writers.discard(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        method, place, _ = head.split(" ", 2)
        self.asked.append(place)
        if method != "CONNECT":
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n")
            return
        if (
            self._wanted
            and f"proxy-authorization: basic {self._wanted}".lower() not in head.lower()
        ):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            return
        host, _, port = place.rpartition(":")
        there_reader, there = await asyncio.open_connection(host, int(port))
        self._writers.add(there)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, there), _copy(there_reader, writer))
        finally:
            there.close()
            self._writers.discard(there)

    def cut(self) -> None:
        """Break every connection, as a proxy does that is started anew."""
        for writer in list(self._writers):
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def connect_proxy(password: str = "") -> AsyncIterator[tuple[ConnectProxy, int]]:
    """Run such a proxy on the loopback; yields it and its port."""
    proxy = ConnectProxy(password)
    async with stream_server(proxy.serve) as port:
        try:
            yield proxy, port
        finally:
            proxy.cut()
