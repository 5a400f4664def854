"""A wire between a site's functions and the hub that notes what each POST was opened with."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from typing_extensions import override

from tests.support.cut_wire import CutWire, listening

_FIRST = re.compile(rb"POST (/\S*) HTTP/1\.1\r\n")
_SECRET = re.compile(rb"\r\nauthorization: bearer (\S+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Where a function pushes, and the secret that it showed."""

    path: str
    secret: str


class PushWire(CutWire):
    """Forwards POSTs; while `free` is not set, what opens one is noted and kept from the hub."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.opened: list[Opening] = []
        self.free = asyncio.Event()
        self.free.set()

    @override
    async def _begin(self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path, secret = _FIRST.match(head), _SECRET.search(head)
        assert path is not None, head
        assert secret is not None, head
        self.opened.append(Opening(path=path[1].decode(), secret=secret[1].decode()))
        await self.free.wait()
        forth.write(head)


@asynccontextmanager
async def push_wire(target: int) -> AsyncIterator[tuple[PushWire, int]]:
    """Forward to `target`; yields the wire and its own port."""
    wire = PushWire(target)
    async with listening(wire) as port:
        yield wire, port
