"""All site links of this hub: where agents dial in, and one link for each site."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import TracebackType
from typing import Self

import structlog
from aiohttp import WSCloseCode, web

from compute_functions.contract import JsonObject, site_link
from resource_server.adapters.deserted import Deserted
from resource_server.adapters.relay.gatekeeper import Gatekeeper, Refused, SiteAdmission
from resource_server.adapters.site_link.link import LinkTimes, SiteLink
from resource_server.domain import errors
from resource_server.services.site_board import SiteBoard
from resource_server.services.supervision import forever

log = structlog.get_logger()

#: Between two looks at whose site is enrolled no more (seconds).
KEEP_EVERY_S = 5.0
#: An agent that is told to go closes its side within so long (seconds).
CLOSE_WITHIN_S = 2.0


class SiteLinks:
    """Takes sites' agents in while it is open, at the listener that serves its `routes`."""

    def __init__(
        self,
        board: SiteBoard,
        gatekeeper: Gatekeeper,
        *,
        times: LinkTimes | None = None,
        keep_s: float = KEEP_EVERY_S,
    ) -> None:
        self._board = board
        self._gatekeeper = gatekeeper
        self._times = times or LinkTimes()
        self._keep_s = keep_s
        self._links: dict[str, SiteLink] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._farewells = Deserted()
        self._stops = False

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(forever("site-links", self._keep), name="site-links")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send every agent away; they dial again."""
        self._stops = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        ends = (link.end("the hub stops") for link in self._links.values())
        await asyncio.gather(*ends, return_exceptions=True)
        await self._farewells.close()

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return what the hub's listener serves for agents."""
        return [web.get(site_link.PATH, self._connect)]

    def offers(self, cluster: str, function: str) -> bool:
        """Tell whether a site has a link here on which this function can be called."""
        link = self._links.get(cluster)
        return link is not None and function in link.calls.functions

    async def call(self, cluster: str, function: str, wire: JsonObject) -> JsonObject:
        """Return what a site's function gave; raises an `UpstreamError` if there is no answer."""
        link = self._links.get(cluster)
        if link is None or function not in link.calls.functions:
            raise errors.BackendUnavailable(f"The site of '{cluster}' has no link for that.")
        return await link.calls.call(function, wire)

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        try:
            admission = await self._admitted(request)
        except Refused as refusal:
            log.warning(
                "site_link_refused",
                reason=refusal.reason,
                status=int(refusal.status),
                cluster=refusal.cluster,
            )
            return web.Response(status=refusal.status)
        socket = web.WebSocketResponse(
            protocols=(site_link.SUBPROTOCOL,),
            # The library refuses messages of this size, and not only larger ones.
            max_msg_size=site_link.MOST_MESSAGE + 1,
            timeout=CLOSE_WITHIN_S,
            compress=False,
        )
        await socket.prepare(request)
        await self._serve(request, socket, admission)
        return socket

    async def _admitted(self, request: web.Request) -> SiteAdmission:
        """Return whose agent dials, or raise `Refused`; its credential is used up then."""
        if self._stops:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the hub stops")
        asked = web.WebSocketResponse(protocols=(site_link.SUBPROTOCOL,), compress=False)
        if asked.can_prepare(request).protocol != site_link.SUBPROTOCOL:
            reason = f"it does not ask for {site_link.SUBPROTOCOL}"
            raise Refused(HTTPStatus.BAD_REQUEST, reason)
        return await self._gatekeeper.admit_site(request.headers.get("Authorization", ""))

    async def _serve(
        self, request: web.Request, socket: web.WebSocketResponse, admission: SiteAdmission
    ) -> None:
        """Live as long as the connection of an agent does; a later one of its site replaces it."""
        cluster = admission.cluster
        link = SiteLink(
            socket,
            request.transport,
            admission=admission,
            board=self._board,
            gatekeeper=self._gatekeeper,
            times=self._times,
        )
        before, self._links[cluster] = self._links.get(cluster), link
        if before is not None:
            # Not waited for: it may be on a connection that is dead.
            self._farewells.start(before.end("another agent of the site has linked"))
        self._board.link(cluster)
        log.info("site_linked", cluster=cluster)
        reason = "the hub lost it"
        try:
            reason = await link.run()
        finally:
            log.info("site_link_ended", cluster=cluster, reason=reason)
            if self._links.get(cluster) is link:
                del self._links[cluster]
                self._board.unlink(cluster)

    async def _keep(self) -> None:
        """Take one look at each link, after a while."""
        await asyncio.sleep(self._keep_s)
        for link in list(self._links.values()):
            if not self._gatekeeper.is_enrolled(link.admission):
                reason = "its site is not enrolled with that key any more"
                await link.end(reason, code=WSCloseCode.POLICY_VIOLATION)
