"""Looks names up and checks every address, before the connection is made to just these."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

#: Look-ups at the same time. The threads are our own: a name whose server never answers holds one
#: for long, and whoever sends such names must not stop what else the process does in threads.
THREADS = 8

#: Told an address; whether a connection to it may be made.
MayConnect: TypeAlias = Callable[[str], bool]
#: Returns a name's addresses, as `socket.getaddrinfo` does; may block.
LookUp: TypeAlias = Callable[[str, int, int, int], list[tuple[Any, ...]]]


class AddressRefused(OSError):
    """A name leads to an address that must not be connected to."""


class CheckedResolver(AbstractResolver):
    """Resolves names for aiohttp, which connects to the very addresses that this returns.

    One address that is refused refuses the name: an honest host has none, and a connection that
    fails would move on to the next.
    """

    def __init__(self, may_connect: MayConnect, look_up: LookUp) -> None:
        self._may_connect = may_connect
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="image-hosts")

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name; raises `AddressRefused`, or an `OSError`."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._look_up, host, port, family, socket.SOCK_STREAM
        )
        if not all(self._may_connect(str(sockaddr[0])) for *_, sockaddr in found):
            raise AddressRefused(f"{host} has an address that is not public")
        return [
            ResolveResult(
                hostname=host,
                host=str(sockaddr[0]),
                port=port,
                family=found_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, proto, _, sockaddr in found
        ]

    @override
    async def close(self) -> None:
        """Take no more names; a look-up that hangs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
