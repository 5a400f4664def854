"""One link: the relay's connection to one hub, opened again whenever it ends, and gone on with."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

import aiohttp
from aiohttp.http import WebSocketError, WSCloseCode
from yarl import URL

from compute_functions.contract import frames
from compute_functions.contract.errors import ContractError
from compute_functions.contract.frames import Frame, FrameKind
from compute_functions.contract.relay import Accept, EngineLoad, Hello, Renewal
from compute_functions.errors import (
    ConfigurationError,
    HubHungUp,
    HubRefused,
    LinkFailed,
    ProtocolBroken,
)
from compute_functions.relay.credentials import CredentialSource
from compute_functions.relay.dialling import Dialler
from compute_functions.relay.outbox import Outbox
from compute_functions.relay.patience import Patience
from compute_functions.relay.redialling import Redialling, close_as_broken
from compute_functions.relay.streams import Service, Streams
from compute_functions.relay.times import Times

log = logging.getLogger("hotnode.relay")


class Link:
    """Keeps one hub connected, from `run` until its cancellation, and serves what comes."""

    def __init__(
        self,
        hub: str,
        *,
        instance: str,
        service: Service,
        credentials: CredentialSource,
        times: Times,
    ) -> None:
        self._hub = URL(hub)
        self._instance = instance
        self._service = service
        self._redialling = Redialling(self._hub, credentials=credentials, times=times, log=log)
        self._times = times
        self._outbox = Outbox()
        self._streams = Streams(service, self._outbox)
        self._name = _new_name()
        self._hub_name = ""
        self._load: EngineLoad | None = None
        self._cut_at: float | None = None

    @property
    def streams(self) -> int:
        """How many requests it has that the hub has not yet seen the end of."""
        return len(self._streams)

    async def run(self, dialler: Dialler) -> None:
        """Keep the link until cancelled; then nothing of its streams is left."""
        patience = Patience(self._abandon)
        try:
            while True:
                pause_s = await self._attempt(dialler, patience)
                await asyncio.sleep(pause_s)
        finally:
            patience.end()
            self._abandon()
            await self._streams.close()

    def drain(self) -> None:
        """Tell the hub that no new requests are taken."""
        self._outbox.put(Frame(FrameKind.DRAIN))

    async def drained(self) -> None:
        """Wait until no stream is left."""
        await self._streams.empty()

    def report(self, load: EngineLoad) -> None:
        """Tell the hub how busy the engine is."""
        self._load = load
        self._outbox.put(Frame(FrameKind.STATS, payload=load.to_payload()))

    async def _attempt(self, dialler: Dialler, patience: Patience) -> float:
        """Open a connection and serve it to its end; return the pause before the next (seconds)."""
        try:
            socket = await dialler.dial(self._hub, await self._redialling.token())
            await self._serve(socket, patience)
        except HubRefused as refused:
            return self._redialling.refused("link_refused", refused)
        except (HubHungUp, ProtocolBroken) as error:
            self._redialling.tell("link_ended", error)
            self._abandon()
        except (LinkFailed, ConfigurationError) as error:
            self._redialling.tell("link_failed", error)
        return self._redialling.ended()

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse, patience: Patience) -> None:
        """Serve an open WebSocket; ends with `LinkFailed` or `ProtocolBroken`."""
        # From HELLO on the hub may count on the streams that it names.
        patience.end()
        farewell = WSCloseCode.GOING_AWAY  # The hub then ends what it has on this link.
        try:
            accept, rest = await self._greeted(socket)
            self._cut_at = None
            async with self._outbox.flowing(socket.send_bytes):
                self._begin(accept)
                for frame in rest:
                    self._take(frame)
                await self._read(socket)
        except (ProtocolBroken, ContractError) as error:
            await close_as_broken(socket, error)
            raise ProtocolBroken(str(error)) from error
        except LinkFailed:
            farewell = WSCloseCode.OK  # We dial again, and go on.
            raise
        finally:
            self._park(patience)
            await socket.close(code=farewell)

    async def _greeted(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[Accept, list[Frame]]:
        """Say HELLO; return what the hub says to it, and what came behind that."""
        hello = Hello(
            instance=self._instance,
            link=self._name,
            paths=tuple(self._service.paths),
            hub=self._hub_name,
            run=self._service.run,
            bodies=self._streams.bodies(),
        )
        try:
            async with asyncio.timeout(self._times.dial_s):
                await socket.send_bytes(
                    frames.encoded(Frame(FrameKind.HELLO, payload=hello.to_payload()))
                )
                said = _frames(await socket.receive(), socket)
        except TimeoutError as error:
            raise LinkFailed(f"no ACCEPT within {self._times.dial_s:g} s") from error
        except ConnectionError as error:
            raise LinkFailed(str(error)) from error
        if not said or said[0].kind is not FrameKind.ACCEPT:
            raise ProtocolBroken("another frame or none, where ACCEPT must come")
        return Accept.from_payload(said[0].payload), said[1:]

    def _begin(self, accept: Accept) -> None:
        """Go on where the link was cut, or begin it."""
        log.info("link_open hub=%s name=%s resumed=%s", self._hub, accept.hub, accept.resumed)
        self._redialling.opened()
        self._hub_name = accept.hub
        self._redialling.bearer.renewed(accept.session, accept.session_s)
        if accept.resumed:
            self._streams.resume(accept)
        else:
            self._streams.cancel()
        if self._service.draining:
            self.drain()
        if self._load is not None:
            self.report(self._load)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            for frame in _frames(await socket.receive(), socket):
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame.stream:
            self._streams.take(frame)
        elif frame.kind is FrameKind.RENEW:
            renewal = Renewal.from_payload(frame.payload)
            self._redialling.bearer.renewed(renewal.session, renewal.session_s)
        elif frame.kind is FrameKind.DRAIN:
            log.info("hub_drains hub=%s", self._hub)
        else:
            raise ProtocolBroken(f"{frame.kind.name} of the link itself")

    def _park(self, patience: Patience) -> None:
        """Keep the streams for a while, counted from when the link was cut."""
        now = time.monotonic()
        if self._cut_at is None:
            self._cut_at = now
        patience.expect(max(0.0, self._cut_at + self._times.resume_within_s - now))

    def _abandon(self) -> None:
        """Give the streams up, and begin a new link."""
        if len(self._streams):
            log.warning("streams_given_up hub=%s count=%s", self._hub, len(self._streams))
        self._streams.cancel()
        self._name = _new_name()
        self._hub_name = ""


def _new_name() -> str:
    return secrets.token_urlsafe(16)


def _frames(message: aiohttp.WSMessage, socket: aiohttp.ClientWebSocketResponse) -> list[Frame]:
    """Return the frames of a message, or raise how the link ends."""
    if message.type is aiohttp.WSMsgType.BINARY:
        return list(frames.decoded(message.data))
    if message.type is aiohttp.WSMsgType.TEXT:
        raise ProtocolBroken("a message of text")
    if message.type is aiohttp.WSMsgType.ERROR:
        if isinstance(message.data, WebSocketError):
            raise ProtocolBroken(str(message.data))
        raise LinkFailed(f"the connection broke: {message.data}")
    if message.type is aiohttp.WSMsgType.CLOSE:
        raise HubHungUp(f"the hub ended it with {message.data} {message.extra}")
    raise LinkFailed(f"the connection was cut ({socket.close_code})")
