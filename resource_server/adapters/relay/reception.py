"""The life of one connection of a relay: its HELLO, what it says then, and how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
import structlog
from aiohttp import web

from compute_functions.contract import ContractError
from compute_functions.contract.frames import FrameKind, decoded
from compute_functions.contract.relay import Accept, Hello
from resource_server.adapters.relay.connection import Connection
from resource_server.adapters.relay.gatekeeper import Admission, Gatekeeper
from resource_server.adapters.relay.link import Link
from resource_server.adapters.relay.links import Links, TooManyLinks

log = structlog.get_logger()

#: A relay says HELLO within so long (seconds).
HELLO_WITHIN_S = 10.0
#: A relay that is told to go closes its side within so long (seconds).
CLOSE_WITHIN_S = 2.0
_LONGEST_NAME = 255
_MOST_NAMES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One connection of a relay that was let in."""

    socket: web.WebSocketResponse
    transport: asyncio.BaseTransport
    admission: Admission


class Reception:
    """Receives relays: each connection becomes a link, or goes on with one."""

    def __init__(
        self, links: Links, gatekeeper: Gatekeeper, *, hello_within_s: float = HELLO_WITHIN_S
    ) -> None:
        self._links = links
        self._gatekeeper = gatekeeper
        self._hello_within_s = hello_within_s

    async def receive(self, visit: Visit) -> None:
        """Live as long as the connection does."""
        try:
            hello = await self._hello(visit)
            connection = self._connection(visit)
            link = self._attach(visit.admission, hello, connection)
        except ContractError as problem:
            await self._turn_away(visit, str(problem), code=aiohttp.WSCloseCode.PROTOCOL_ERROR)
            return
        except TooManyLinks as problem:
            await self._turn_away(visit, str(problem), code=aiohttp.WSCloseCode.TRY_AGAIN_LATER)
            return
        writer = asyncio.create_task(connection.run(), name=f"relay {link.name[:40]}")
        # A link that only hears would take requests and never send them.
        writer.add_done_callback(connection.look_at_end)
        reason = "the hub lost it"
        try:
            reason = await _listen(visit.socket, link, connection)
        finally:
            if _says_goodbye(visit.socket) and link.belongs_to(connection):
                link.end("the relay stops", gone=True)
            link.cut(connection, reason)
            if connection.closing:
                await asyncio.wait({writer}, timeout=CLOSE_WITHIN_S)
            writer.cancel()
            await asyncio.wait({writer})
        if not writer.cancelled():
            writer.result()

    def renew(self, link: Link) -> None:
        """Give a link a session for the time after the present one."""
        admission = Admission(instance=link.instance, key=link.key)
        session, session_s = self._gatekeeper.session(admission)
        link.renew(session, session_s)
        link.renew_at = asyncio.get_running_loop().time() + session_s / 2

    async def _hello(self, visit: Visit) -> Hello:
        """Return what the relay says first, or raise `ContractError`."""
        hello = Hello.from_payload(await self._first_payload(visit))
        if hello.instance != visit.admission.instance.instance:
            raise ContractError("HELLO names another instance than the credential")
        if not hello.link:
            raise ContractError("HELLO names no link")
        names = (hello.link, hello.run, *hello.paths)
        if len(names) > _MOST_NAMES or max(map(len, names)) > _LONGEST_NAME:
            # The hub keeps them as long as the link.
            raise ContractError("HELLO names too much")
        return hello

    async def _first_payload(self, visit: Visit) -> bytes:
        """Return what is in the first message, which is a HELLO and nothing else."""
        try:
            said = await visit.socket.receive(self._hello_within_s)
        except TimeoutError:
            raise ContractError("no HELLO came in time") from None
        if said.type is not aiohttp.WSMsgType.BINARY:
            raise ContractError("no HELLO came")
        frames = list(decoded(said.data))
        if len(frames) != 1 or frames[0].kind is not FrameKind.HELLO:
            raise ContractError("the first message is not HELLO alone")
        return frames[0].payload

    def _connection(self, visit: Visit) -> Connection:
        abort = getattr(visit.transport, "abort", visit.transport.close)
        traffic = self._links.traffic(visit.admission.instance)
        return Connection(visit.socket, abort=abort, traffic=traffic)

    def _attach(self, admission: Admission, hello: Hello, connection: Connection) -> Link:
        session, session_s = self._gatekeeper.session(admission)
        accept = Accept(hub=self._links.hub, session=session, session_s=session_s)
        link = self._links.attach(admission.instance, hello, connection, accept)
        link.key = admission.key
        link.renew_at = asyncio.get_running_loop().time() + session_s / 2
        return link

    async def _turn_away(self, visit: Visit, reason: str, *, code: int) -> None:
        instance = visit.admission.instance
        log.warning(
            "relay_refused",
            reason=reason,
            close_code=int(code),
            cluster=instance.cluster,
            instance=instance.instance,
        )
        await visit.socket.close(code=code, message=reason.encode()[:100])


async def _listen(socket: web.WebSocketResponse, link: Link, connection: Connection) -> str:
    """Hand on what the relay says until there is no more; return why."""
    async for said in socket:
        if not link.belongs_to(connection):
            return "another connection goes on with it"
        try:
            _take(said, link)
        except ContractError as problem:
            log.error("relay_broke_the_protocol", **link.fields(), reason=str(problem))  # noqa: TRY400 - the reason says it all
            link.end(f"it broke the protocol: {problem}", code=aiohttp.WSCloseCode.PROTOCOL_ERROR)
            return "it broke the protocol"
    return _why(socket)


def _take(said: aiohttp.WSMessage, link: Link) -> None:
    """Hand on one message; raises `ContractError` if it breaks the protocol."""
    if said.type is aiohttp.WSMsgType.BINARY:
        link.receive(said.data)
    elif said.type is not aiohttp.WSMsgType.ERROR:
        raise ContractError("a message is not binary")
    elif isinstance(said.data, aiohttp.WebSocketError):
        raise ContractError(str(said.data))
    # Any other error means that the connection is lost, which comes next.


def _says_goodbye(socket: web.WebSocketResponse) -> bool:
    """Tell whether the relay stops: it will not go on with its link."""
    return socket.close_code == aiohttp.WSCloseCode.GOING_AWAY


def _why(socket: web.WebSocketResponse) -> str:
    error = socket.exception()
    return f"close code {socket.close_code}" + (f", {error!r}" if error else "")
