"""One HTTP client per target, with its own connections, key and certificates."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import TracebackType
from typing import Self, TypeAlias

import aiohttp
from yarl import URL

from resource_server.adapters.direct import files
from resource_server.adapters.direct.proxies import proxy_for
from resource_server.domain.catalog import DirectTarget
from resource_server.services.supervision import forever

#: For a connection, with name and TLS (seconds).
CONNECT_TIMEOUT_S = 10.0
#: Engines close what was idle for five seconds (uvicorn's default): leave before they do.
KEEP_IDLE_S = 2.5
#: A target that nobody asked for so long may have left the catalog: its client is let go, with its
#: key (seconds). Hubs do not all have a catalog; requests bring the targets along.
UNUSED_S = 600.0
#: A replaced key or certificate is used after so long at the latest (seconds).
LOOK_EVERY_S = 30.0

_Name: TypeAlias = tuple[str, ...]


class DirectClient:
    """A client of one target. Who uses it holds it, so that it is not closed meanwhile."""

    def __init__(
        self,
        target: DirectTarget,
        key: str,
        session: aiohttp.ClientSession,
        made: files.Fingerprint,
        *,
        proxy: URL | None,
    ) -> None:
        self.session = session
        self.made = made
        self.looked_at = asyncio.get_running_loop().time()
        self.base = URL(target.url)
        self.proxy = proxy
        self.authorization = {"authorization": f"Bearer {key}"} if key else {}
        self._users = 0
        self._retired = False
        self._used_at = self.looked_at

    def hold(self) -> None:
        """Begin to use it."""
        self._users += 1

    async def release(self) -> None:
        """End to use it; the last user of one that was replaced closes it."""
        self._users -= 1
        self._used_at = asyncio.get_running_loop().time()
        await self._close_if_unused()

    @property
    def unused_s(self) -> float:
        """For how long nobody has used it."""
        return 0.0 if self._users else asyncio.get_running_loop().time() - self._used_at

    async def retire(self) -> None:
        """Close it as soon as nobody uses it."""
        self._retired = True
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._retired and not self._users:
            await self.session.close()


class DirectClients:
    """Opens clients when they are first needed, anew when their files change, and closes them.

    Those that nobody needs any more are closed after a while.
    """

    def __init__(self, *, look_every_s: float = LOOK_EVERY_S, unused_s: float = UNUSED_S) -> None:
        self._look_every_s = look_every_s
        self._unused_s = unused_s
        self._clients: dict[_Name, DirectClient] = {}
        self._opening: defaultdict[_Name, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tidying: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._clients)

    async def __aenter__(self) -> Self:
        name = "direct clients"
        self._tidying = asyncio.create_task(forever(name, self._tidy), name=name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.wait({self._tidying})
        for client in self._clients.values():
            await client.session.close()

    async def held(self, target: DirectTarget) -> DirectClient:
        """Return the client of a target, to be released; raises `FilesUnusable`."""
        name = _name(target)
        client = self._clients.get(name)
        if client is None or self._is_old(client):
            async with self._opening[name]:
                client = await self._fresh(name, target)
        client.hold()
        return client

    async def _tidy(self) -> None:
        """Close what was not used for long, after a while."""
        await asyncio.sleep(self._unused_s / 10)
        for name, client in list(self._clients.items()):
            # Another one may have its place since the last was closed.
            if self._clients.get(name) is not client:
                continue
            # Nobody who is just looking at its files may be given a closed one.
            if client.unused_s >= self._unused_s and not self._opening[name].locked():
                del self._clients[name], self._opening[name]
                await client.retire()

    def _is_old(self, client: DirectClient) -> bool:
        return asyncio.get_running_loop().time() - client.looked_at >= self._look_every_s

    async def _fresh(self, name: _Name, target: DirectTarget) -> DirectClient:
        """Return the client that is there if its files are the same, else another."""
        before = self._clients.get(name)
        if before is not None and not self._is_old(before):
            return before
        seen = await asyncio.to_thread(files.fingerprint, target)
        if before is not None and before.made == seen:
            before.looked_at = asyncio.get_running_loop().time()
            return before
        client = self._clients[name] = await _opened(target, seen)
        if before is not None:
            await before.retire()
        return client


async def _opened(target: DirectTarget, seen: files.Fingerprint) -> DirectClient:
    key = await asyncio.to_thread(files.api_key, target)
    context = await asyncio.to_thread(files.tls, target)
    proxy = proxy_for(URL(target.url))
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=KEEP_IDLE_S),
        # Who asks keeps the time.
        timeout=aiohttp.ClientTimeout(
            total=None, connect=CONNECT_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    return DirectClient(target, key, session, seen, proxy=proxy)


def _name(target: DirectTarget) -> _Name:
    return (
        *(target.url, target.api_key_file, target.ca_file),
        *(target.client_certificate, target.client_key),
    )
