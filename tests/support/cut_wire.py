"""A TCP forwarder whose connections a test can cut, or refuse, at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.stream_server import stream_server

#: Small, so that a cut falls between two parts of a message, too (bytes).
_PIECE = 4096


class CutWire:
    """Forwards to a port; `cut` drops what is open, and `down` refuses what comes."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: set[asyncio.WriteTransport] = set()
        self.down = False
        self.cuts = 0

    def cut(self) -> None:
        """Drop every connection without a word."""
        self.cuts += 1
        for transport in list(self._open):
            transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection, both ways, until either side ends or it is cut."""
        if self.down:
            writer.transport.abort()
            return
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer.transport, forth.transport}
        self._open |= ends
        try:
            await self._begin(reader, forth)
            await asyncio.gather(_pass(reader, forth), _pass(back, writer))
        finally:
            self._open -= ends
            for transport in ends:
                transport.abort()

    async def _begin(self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        """Do what must be done before a connection's first bytes pass: here, nothing."""


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # It was cut, which is what this is for.
    finally:
        writer.transport.abort()


@asynccontextmanager
async def cut_wire(target: int) -> AsyncIterator[tuple[CutWire, int]]:
    """Forward to `target`; yields the wire and its own port."""
    wire = CutWire(target)
    async with listening(wire) as port:
        yield wire, port


@asynccontextmanager
async def listening(wire: CutWire) -> AsyncIterator[int]:
    """Have a wire forward; yields its own port."""
    async with stream_server(wire.serve) as port:
        yield port
