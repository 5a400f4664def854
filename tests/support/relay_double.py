"""A relay that says what a test tells it to: the frames of the protocol, and nothing by itself."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Self

import aiohttp

from compute_functions.contract import FailureCode
from compute_functions.contract.frames import SUBPROTOCOL, Frame, FrameKind, decoded, encoded
from compute_functions.contract.relay import (
    Accept,
    AnswerEnd,
    AnswerError,
    AnswerHead,
    Hello,
    RelayRequest,
)
from tests.support.relay_site import PATH, RelaySite

CONNECT = "/relay/v1/connect"


class RelayDouble:
    """One connection of a relay. `heard` waits for a frame; `said` sends some in one message."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, *, instance: str, link: str
    ) -> None:
        self.socket = socket
        self.instance = instance
        self.link = link
        self.accept: Accept | None = None
        self._frames: list[Frame] = []

    async def said(self, *frames: Frame) -> None:
        await self.socket.send_bytes(b"".join(encoded(frame) for frame in frames))

    async def next_frame(self) -> Frame:
        """Return the next frame of the hub."""
        async with asyncio.timeout(10):
            while not self._frames:
                message = await self.socket.receive()
                assert message.type is aiohttp.WSMsgType.BINARY, message
                self._frames += decoded(message.data)
        return self._frames.pop(0)

    async def heard(self, kind: FrameKind) -> Frame:
        """Return the next frame, which must be of this kind."""
        frame = await self.next_frame()
        assert frame.kind is kind, frame
        return frame

    async def closed(self) -> int | None:
        """Wait until the hub has closed the link; return the close code."""
        async with asyncio.timeout(10):
            while not self.socket.closed:
                await self.socket.receive()
        return self.socket.close_code

    async def hello(
        self,
        *,
        hub: str = "",
        bodies: Mapping[int, int] | None = None,
        instance: str = "",
        run: str = "",
    ) -> Accept:
        """Say HELLO, and return what the hub accepts."""
        hello = Hello(
            instance=instance or self.instance,
            link=self.link,
            paths=(PATH,),
            hub=hub,
            run=run,
            bodies=bodies or {},
        )
        await self.said(Frame(FrameKind.HELLO, payload=hello.to_payload()))
        frame = await self.heard(FrameKind.ACCEPT)
        self.accept = Accept.from_payload(frame.payload)
        return self.accept

    async def request(self) -> tuple[int, RelayRequest, bytes]:
        """Wait for a request with its whole body; return its stream, itself and the body."""
        frame = await self.heard(FrameKind.REQUEST)
        request = RelayRequest.from_payload(frame.payload)
        body = b""
        while len(body) < request.body_bytes:
            data = await self.heard(FrameKind.DATA)
            assert (data.stream, data.offset) == (frame.stream, len(body))
            body += data.payload
        return frame.stream, request, body

    def cut(self) -> None:
        """Drop the connection without a word."""
        transport = self.socket.get_extra_info("socket")
        assert transport is not None
        connection = self.socket._response.connection  # noqa: SLF001 - nothing else breaks it so
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()


def head(stream: int, status: int = 200, headers: Mapping[str, str] | None = None) -> Frame:
    values = {"content-type": "application/json"} if headers is None else headers
    return Frame(
        FrameKind.HEAD, stream, payload=AnswerHead(status=status, headers=values).to_payload()
    )


def data(stream: int, offset: int, payload: bytes) -> Frame:
    return Frame(FrameKind.DATA, stream, offset, payload)


def end(stream: int, length: int) -> Frame:
    payload = AnswerEnd(engine_s=0.002, site_s=0.003).to_payload()
    return Frame(FrameKind.END, stream, length, payload)


def error(stream: int, sent: int, code: FailureCode) -> Frame:
    payload = AnswerError(code=code, message="as it is").to_payload()
    return Frame(FrameKind.ERROR, stream, sent, payload)


class Dialler:
    """Dials a hub, as many times as a test wants."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}{CONNECT}"
        self._relays: list[RelayDouble] = []

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as session:
            dialler = cls(session, port)
            try:
                yield dialler
            finally:
                for relay in dialler._relays:
                    await relay.socket.close()

    async def dial(
        self,
        token: str,
        *,
        instance: str = "instance-1",
        link: str = "",
        protocol: str = SUBPROTOCOL,
    ) -> RelayDouble:
        """Open a connection, and say nothing yet."""
        socket = await self._session.ws_connect(
            self._url, headers={"Authorization": f"Bearer {token}"}, protocols=(protocol,)
        )
        relay = RelayDouble(socket, instance=instance, link=link or secrets.token_hex(8))
        self._relays.append(relay)
        return relay

    async def refused(self, token: str, *, protocol: str = SUBPROTOCOL) -> int:
        """Return the status with which the hub refuses."""
        try:
            relay = await self.dial(token, protocol=protocol)
        except aiohttp.WSServerHandshakeError as refusal:
            return refusal.status
        await relay.socket.close()
        raise AssertionError("it was let in")

    async def connected(
        self, site: RelaySite, instance: str = "instance-1", *, run: str = ""
    ) -> RelayDouble:
        """Dial with a new credential, say HELLO, and be accepted."""
        relay = await self.dial(site.credential(instance), instance=instance)
        await relay.hello(run=run)
        return relay


class RelayThatEchoes:
    """Answers each request with its own body, in pieces, and keeps to its credit."""

    def __init__(self, relay: RelayDouble, *, piece: int = 50_000) -> None:
        self._relay = relay
        self._piece = piece
        self._bodies: dict[int, bytes] = {}
        self._wanted: dict[int, int] = {}
        self._credit: dict[int, int] = {}
        self._sent: dict[int, int] = {}

    async def run(self) -> None:
        """Serve until cancelled or cut."""
        async for message in self._relay.socket:
            said = b"".join(
                encoded(answer) for frame in decoded(message.data) for answer in self._take(frame)
            )
            if said:
                await self._relay.socket.send_bytes(said)

    def _take(self, frame: Frame) -> list[Frame]:
        number = frame.stream
        match frame.kind:
            case FrameKind.REQUEST:
                self._bodies[number], self._sent[number] = b"", -1
                self._credit[number] = frame.offset
                self._wanted[number] = RelayRequest.from_payload(frame.payload).body_bytes
            case FrameKind.DATA:
                self._bodies[number] += frame.payload
            case FrameKind.CREDIT:
                self._credit[number] = frame.offset
            case FrameKind.CANCEL | FrameKind.ACK:
                self._bodies.pop(number, None)
        return self._answer(number)

    def _answer(self, number: int) -> list[Frame]:
        body = self._bodies.get(number)
        if body is None or len(body) < self._wanted[number] or self._sent[number] == len(body) + 1:
            return []
        frames = []
        if self._sent[number] < 0:
            frames.append(head(number))
            self._sent[number] = 0
        at = self._sent[number]
        while at < min(len(body), self._credit[number]):
            upto = min(at + self._piece, len(body), self._credit[number])
            frames.append(data(number, at, body[at:upto]))
            at = upto
        self._sent[number] = at
        if at == len(body):
            frames.append(end(number, len(body)))
            self._sent[number] = len(body) + 1
        return frames


@asynccontextmanager
async def echoing(relay: RelayDouble) -> AsyncIterator[None]:
    """Have a relay echo during the body."""
    task = asyncio.create_task(RelayThatEchoes(relay).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
