"""The hub's side of a watch: a web process sees all sites as the hub does, and says who waits."""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec
import structlog
from aiohttp import web

from resource_server.adapters.hub import messages
from resource_server.domain.lifecycle import SiteView
from resource_server.services.changes import ANY
from resource_server.services.site_board import SiteBoard

log = structlog.get_logger()

#: Changes for which nobody is woken are told so often (seconds).
PACE_S = 1.0
#: Changes that follow each other closer than this are told together (seconds).
TOGETHER_S = 0.02
#: A web process that answers no ping for so long is gone (seconds).
PING_S = 10.0
CLOSE_WITHIN_S = 1.0


class Watches:
    """All watches of a hub."""

    def __init__(self, board: SiteBoard) -> None:
        self._board = board
        self._sockets: set[web.WebSocketResponse] = set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Live as long as the connection of one web process does."""
        socket = web.WebSocketResponse(heartbeat=PING_S, timeout=CLOSE_WITHIN_S, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        telling = asyncio.create_task(self._tell(socket), name="watch")
        try:
            await self._listen(socket)
        finally:
            self._sockets.discard(socket)
            self._board.demand.forget(socket)
            telling.cancel()
            await asyncio.wait({telling})
            if not telling.cancelled() and (failure := telling.exception()) is not None:
                # The connection's loss is the listener's to tell; anything else is a fault.
                log.info("watch_ended", reason=repr(failure))
        return socket

    async def close(self) -> None:
        """End all watches; web processes begin them anew."""
        await asyncio.gather(*(socket.close() for socket in self._sockets), return_exceptions=True)

    async def _listen(self, socket: web.WebSocketResponse) -> None:
        async for said in socket:
            if said.type is not aiohttp.WSMsgType.BINARY:
                continue
            try:
                waiting = messages.read_waiting(said.data)
            except msgspec.DecodeError as error:
                log.error("watch_not_understood", reason=str(error))  # noqa: TRY400 - the reason says it all
                await socket.close(code=aiohttp.WSCloseCode.PROTOCOL_ERROR)
                return
            self._board.demand.tell(socket, dict(waiting.counts))

    async def _tell(self, socket: web.WebSocketResponse) -> None:
        told: dict[str, SiteView] = {}
        changes = self._board.changes
        while True:
            seen = changes.number(ANY)
            views = [self._board.view(name) for name in self._board.clusters()]
            news = tuple(view for view in views if told.get(view.cluster) != view)
            if news or not told:
                await socket.send_bytes(messages.encode_watch(messages.Views(views=news)))
                told |= {view.cluster: view for view in news}
            await asyncio.sleep(TOGETHER_S)
            await changes.after({ANY: seen}, within_s=PACE_S)
