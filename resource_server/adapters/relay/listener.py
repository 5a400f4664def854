"""Where relays dial in: an HTTP server of its own, behind the proxy that does TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web

from compute_functions.contract.frames import MAX_MESSAGE, PING_EVERY_S, SUBPROTOCOL
from resource_server.adapters.relay.gatekeeper import Admission, Gatekeeper, Refused
from resource_server.adapters.relay.links import Links
from resource_server.adapters.relay.reception import (
    CLOSE_WITHIN_S,
    HELLO_WITHIN_S,
    Reception,
    Visit,
)
from resource_server.services.supervision import forever

log = structlog.get_logger()

CONNECT = "/relay/v1/connect"
#: How long requests under way may take to finish when the hub is told to stop (seconds). Who
#: waits for them was given the time before.
GRACE_S = 5.0
#: Between two looks at the links: whose site is enrolled no more, whose session ends (seconds).
KEEP_EVERY_S = 5.0
#: A connection whose next request is not there, or not its headers, is closed after so long
#: (seconds): later than the proxy closes those that it keeps for its next request.
IDLE_S = 75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTimes:
    """How long is waited for what (seconds)."""

    hello_s: float = HELLO_WITHIN_S
    ping_s: float = PING_EVERY_S
    grace_s: float = GRACE_S
    keep_s: float = KEEP_EVERY_S
    idle_s: float = IDLE_S


class RelayListener:
    """Takes relays in while it is open; `routes` are what else it serves.

    With port 0 it takes a free one, which `port` names.
    """

    def __init__(
        self,
        links: Links,
        gatekeeper: Gatekeeper,
        *,
        host: str,
        port: int,
        routes: Iterable[web.AbstractRouteDef] = (),
        times: ListenerTimes | None = None,
    ) -> None:
        self._links = links
        self._gatekeeper = gatekeeper
        self._host = host
        self.port = port
        # Here the task transport adds POST /relay/v1/streams/{id}, where functions push answers.
        self._routes = [web.get(CONNECT, self._connect), *routes]
        self._times = times or ListenerTimes()
        self._reception = Reception(links, gatekeeper, hello_within_s=self._times.hello_s)
        self._stops = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=0)
        application.router.add_routes(self._routes)
        async with AsyncExitStack() as stack:
            runner = web.AppRunner(
                application,
                access_log=None,
                shutdown_timeout=CLOSE_WITHIN_S,
                keepalive_timeout=self._times.idle_s,
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, self._host, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            keeper = asyncio.create_task(forever("relays", self._keep), name="relays")
            stack.push_async_callback(_ended, keeper)
            stack.push_async_callback(self._links.close, grace_s=self._times.grace_s)
            self._stack = stack.pop_all()
        log.info("relays_listened_for", host=self._host, port=self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stops = True
        await self._stack.aclose()

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        try:
            admission = await self._admitted(request)
            cluster = admission.instance.cluster
            connections = self._links.share(cluster).connections
            # Nothing is waited for here, so that no two take the same room.
            if not connections.take(1):
                raise _too_many(cluster)
        except Refused as refusal:
            log.warning(
                "relay_refused",
                reason=refusal.reason,
                status=int(refusal.status),
                cluster=refusal.cluster,
            )
            return web.Response(status=refusal.status)
        try:
            return await self._received(request, admission)
        finally:
            connections.give_back(1)

    async def _received(self, request: web.Request, admission: Admission) -> web.StreamResponse:
        """Live as long as the connection of a relay does that was let in."""
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            # The library refuses messages of this size, and not only larger ones.
            max_msg_size=MAX_MESSAGE + 1,
            heartbeat=self._times.ping_s,
            timeout=CLOSE_WITHIN_S,
            compress=False,
        )
        await socket.prepare(request)
        if request.transport is not None:
            await self._reception.receive(
                Visit(socket=socket, transport=request.transport, admission=admission)
            )
        return socket

    async def _admitted(self, request: web.Request) -> Admission:
        """Return who dials, or raise `Refused`; a credential is used up if all else is well."""
        if self._stops:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the hub stops")
        asked = web.WebSocketResponse(protocols=(SUBPROTOCOL,), compress=False)
        if asked.can_prepare(request).protocol != SUBPROTOCOL:
            raise Refused(HTTPStatus.BAD_REQUEST, f"it does not ask for {SUBPROTOCOL}")
        return await self._gatekeeper.admit(request.headers.get("Authorization", ""))

    async def _keep(self) -> None:
        """Take one look at each link, after a while."""
        await asyncio.sleep(self._times.keep_s)
        now = asyncio.get_running_loop().time()
        for link in self._links:
            if not self._gatekeeper.is_enrolled(Admission(instance=link.instance, key=link.key)):
                link.end("its site is not enrolled with that key any more", code=_POLICY)
            elif now >= link.renew_at:
                self._reception.renew(link)


#: What a relay is told that may not stay.
_POLICY = 1008


def _too_many(cluster: str) -> Refused:
    reason = "the cluster has too many connections"
    return Refused(HTTPStatus.TOO_MANY_REQUESTS, reason, cluster=cluster)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
