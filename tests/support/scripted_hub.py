"""A hub that answers agents as a test tells it to, one opening after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiohttp import WSMsgType, web
from yarl import URL

from compute_functions.contract import SiteStatus, site_link
from compute_functions.contract.site_calls import Offer
from compute_functions.contract.site_link import Accepted, MessageKind, Said

#: What becomes of one opening: a status, or a conversation.
Act: TypeAlias = int | Callable[["Opening"], Awaitable[None]]


class Opening:
    """One WebSocket that an agent opened."""

    def __init__(self, socket: web.WebSocketResponse, hub: ScriptedHub) -> None:
        self.socket = socket
        self._hub = hub

    async def accept(self, session: str = "session-1", session_s: float = 3600.0) -> None:
        """Take the agent in."""
        said = Accepted(hub="hub", session=session, session_s=session_s)
        await self.socket.send_str(site_link.message(MessageKind.ACCEPT, said))

    async def hear(self) -> SiteStatus:
        """Return the next observation; what the agent offers comes before the first."""
        while True:
            said = await self.hear_any()
            if not isinstance(said, Offer):
                assert isinstance(said, SiteStatus)
                return said

    async def hear_any(self) -> Said:
        """Return the next message."""
        message = await self.socket.receive(timeout=20)
        assert message.type is WSMsgType.TEXT, message
        found = site_link.read(message.data)
        assert found is not None
        return found[1]

    async def hear_to_the_end(self) -> None:
        """Listen until the agent has closed."""
        while (await self.socket.receive(timeout=20)).type is WSMsgType.TEXT:
            pass
        self._hub.closed.append(self.socket.close_code)


class ScriptedHub:
    """`tokens` are those with which agents came, `closed` with which codes they left."""

    def __init__(self, *script: Act) -> None:
        self.tokens: list[str] = []
        self.closed: list[int | None] = []
        self.done = asyncio.Event()
        self._script = list(script)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers["Authorization"].removeprefix("Bearer "))
        act = self._script.pop(0) if self._script else _stay
        if not self._script:
            self.done.set()
        if isinstance(act, int):
            return web.Response(status=act)
        socket = web.WebSocketResponse(protocols=(site_link.SUBPROTOCOL,), timeout=1.0)
        await socket.prepare(request)
        await act(Opening(socket, self))
        await socket.close()
        return socket

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[URL]:
        """Listen during the block; yields the address."""
        application = web.Application()
        application.router.add_get(site_link.PATH, self.answer)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            host, port = runner.addresses[0][:2]
            yield URL.build(scheme="ws", host=host, port=port, path=site_link.PATH)
        finally:
            await runner.cleanup()


async def _stay(opening: Opening) -> None:
    await opening.accept()
    await opening.hear_to_the_end()
