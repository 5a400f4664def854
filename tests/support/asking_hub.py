"""A hub that speaks the relay's protocol and puts a test's requests to whoever dials it."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from compute_functions.contract import frames
from compute_functions.contract.frames import MAX_DATA, MAX_MESSAGE, WINDOW, Frame, FrameKind
from compute_functions.contract.relay import (
    Accept,
    AnswerEnd,
    AnswerError,
    AnswerHead,
    EngineLoad,
    Hello,
    RelayRequest,
    Renewal,
    StreamState,
)

PATH = "/v1/chat/completions"


class Asked:
    """One request of the test, and what has come of its answer."""

    def __init__(self, number: int, request: RelayRequest, body: bytes) -> None:
        self.number = number
        self.request = request
        self.body = body
        self.credit = WINDOW
        self.reads = True
        self.head: AnswerHead | None = None
        self.said = bytearray()
        self.end: AnswerEnd | None = None
        self.error: AnswerError | None = None
        self.news = asyncio.Event()
        self.over = asyncio.Event()

    async def whole(self) -> bytes:
        """Wait for the answer, which must be whole, and return its body."""
        async with asyncio.timeout(30):
            await self.over.wait()
        assert self.error is None, self.error
        return bytes(self.said)

    async def failed(self) -> AnswerError:
        """Wait for the error that must come."""
        async with asyncio.timeout(30):
            await self.over.wait()
        assert self.error is not None
        return self.error

    async def until(self, length: int) -> None:
        """Wait for so many bytes of the answer."""
        async with asyncio.timeout(30):
            while len(self.said) < length:
                self.news.clear()
                await self.news.wait()

    def take(self, frame: Frame) -> None:
        if frame.kind is FrameKind.HEAD:
            assert self.head is None, "a head came twice"
            self.head = AnswerHead.from_payload(frame.payload)
        elif frame.kind is FrameKind.DATA:
            self._take_data(frame)
        elif frame.kind is FrameKind.END:
            assert self.head is not None, "the end came before the head"
            assert frame.offset == len(self.said), "bytes are missing before the end"
            self.end = AnswerEnd.from_payload(frame.payload)
            self.over.set()
        elif frame.kind is FrameKind.ERROR:
            assert frame.offset == len(self.said), "bytes are missing before the error"
            self.error = AnswerError.from_payload(frame.payload)
            self.over.set()
        else:
            raise AssertionError(f"{frame.kind.name} of a stream is no relay's to send")
        self.news.set()

    def _take_data(self, frame: Frame) -> None:
        assert self.head is not None, "data came before the head"
        assert len(frame.payload) <= MAX_DATA, "a frame is too large"
        assert frame.offset == len(self.said), f"{frame.offset}, where {len(self.said)} must come"
        self.said += frame.payload
        assert len(self.said) <= self.credit, "more came than the credit"

    @property
    def state(self) -> StreamState:
        return StreamState(head=self.head is not None, received=len(self.said), credit=self.credit)


class HubThatAsks:
    """A hub whose every failure is a test's wish.

    `refusals` are answered, one after the other, in place of 101. `loses` names kinds of frames:
    the next of one kind is lost, with all behind it, and the link is cut. `faults` holds what the
    relay did wrong. After `restart` it knows nothing of before.
    """

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self.refusals: deque[int] = deque()
        self.subprotocols: tuple[str, ...] = (frames.SUBPROTOCOL,)
        self.loses: list[FrameKind] = []
        self.accepts = True
        self.says_instead: bytes | None = None
        self.acknowledges = True
        self.answers_pings = True
        self.session_s = 3600.0
        self.tokens: list[str] = []
        self.hellos: list[Hello] = []
        self.resumed: list[bool] = []
        self.loads: list[EngineLoad] = []
        self.faults: list[str] = []
        self.close_codes: list[int | None] = []
        self.drained = asyncio.Event()
        self.news = asyncio.Event()
        self._numbers = itertools.count(1)
        self._link = ""
        self._asked: dict[int, Asked] = {}
        self._socket: web.WebSocketResponse | None = None
        self._transport: asyncio.Transport | None = None

    def restart(self) -> None:
        """Forget everything, and cut the link."""
        self.name, self._link = secrets.token_hex(8), ""
        self._asked.clear()
        self.cut()

    def cut(self) -> None:
        """End the connection without a word."""
        transport, self._transport, self._socket = self._transport, None, None
        if transport is not None:
            transport.abort()

    async def close(self, code: int = 1001) -> None:
        """End the connection with a word."""
        assert self._socket is not None
        await self._socket.close(code=code)

    async def linked(self, times: int = 1) -> None:
        """Wait until a relay has been accepted so many times, and still is."""
        async with asyncio.timeout(30):
            while len(self.resumed) < times or self._socket is None:
                self.news.clear()
                await self.news.wait()

    async def until(self, happened: Any) -> None:
        """Wait until something is so of what the hub has heard."""
        async with asyncio.timeout(30):
            while not happened():
                self.news.clear()
                await self.news.wait()

    async def ask(
        self, body: bytes = b"{}", *, sends: int | None = None, reads: bool = True, **changes: Any
    ) -> Asked:
        """Send a request, or of its body only the first `sends` bytes."""
        fields: dict[str, Any] = {
            "request_id": secrets.token_hex(8),
            "path": PATH,
            "body_bytes": len(body),
            "timeout_s": 30.0,
            "silence_s": 30.0,
        }
        request = RelayRequest(**(fields | changes))
        asked = Asked(next(self._numbers), request, body)
        asked.reads = reads
        self._asked[asked.number] = asked
        await self.send(*self._request(asked, 0, len(body) if sends is None else sends))
        return asked

    async def rest(self, asked: Asked, begin: int) -> None:
        """Send what `ask` left of a body."""
        await self.send(*self._body(asked, begin, len(asked.body)))

    async def credit(self, asked: Asked, until: int) -> None:
        """Let the answer come up to there."""
        asked.credit = until
        await self.send(Frame(FrameKind.CREDIT, asked.number, until))

    async def cancel(self, asked: Asked) -> None:
        """Tell the relay that nobody waits."""
        self._asked.pop(asked.number)
        await self.send(Frame(FrameKind.CANCEL, asked.number))

    def give_up(self, asked: Asked) -> None:
        """Forget a request without a word, as while the link is cut."""
        del self._asked[asked.number]

    async def renew(self, session: str) -> None:
        """Give a new session."""
        renewal = Renewal(session=session, session_s=self.session_s)
        await self.send(Frame(FrameKind.RENEW, payload=renewal.to_payload()))

    async def send(self, *given: Frame) -> None:
        """Send frames, each message as full as can be."""
        message = b""
        for frame in given:
            part = frames.encoded(frame)
            if len(message) + len(part) > MAX_MESSAGE:
                await self.say(message)
                message = b""
            message += part
        await self.say(message)

    async def say(self, message: bytes | str) -> None:
        """Send any message at all."""
        assert self._socket is not None, "no relay is linked"
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    def _request(self, asked: Asked, begin: int, end: int) -> list[Frame]:
        payload = asked.request.to_payload()
        request = Frame(FrameKind.REQUEST, asked.number, asked.credit, payload)
        return [request, *self._body(asked, begin, end)]

    def _body(self, asked: Asked, begin: int, end: int) -> list[Frame]:
        places = range(begin, end, MAX_DATA)
        return [
            Frame(FrameKind.DATA, asked.number, at, asked.body[at : min(at + MAX_DATA, end)])
            for at in places
        ]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take a relay's connection."""
        self.tokens.append(request.headers.get("authorization", "").removeprefix("Bearer "))
        self.news.set()
        if self.refusals:
            return web.Response(status=self.refusals.popleft())
        taken = web.WebSocketResponse(
            protocols=self.subprotocols,
            max_msg_size=MAX_MESSAGE + 1,
            autoping=self.answers_pings,
        )
        await taken.prepare(request)
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        await self._serve(taken, transport)
        self.close_codes.append(taken.close_code)
        self.news.set()
        return taken

    async def _serve(self, taken: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        async for message in taken:
            if message.type is WSMsgType.PING:
                continue
            if message.type is not WSMsgType.BINARY:
                self.faults.append(f"a message of type {message.type}")
                return
            for frame in frames.decoded(message.data):
                if frame.kind in self.loses:
                    self.loses.remove(frame.kind)
                    self.cut()
                    return
                await self._take(frame, taken, transport)
                self.news.set()

    async def _take(
        self, frame: Frame, taken: web.WebSocketResponse, transport: asyncio.Transport
    ) -> None:
        if frame.kind is FrameKind.HELLO:
            await self._greet(Hello.from_payload(frame.payload), taken, transport)
        elif frame.kind is FrameKind.STATS:
            self.loads.append(EngineLoad.from_payload(frame.payload))
        elif frame.kind is FrameKind.DRAIN:
            self.drained.set()
        elif asked := self._asked.get(frame.stream):
            await self._answered(asked, frame)

    async def _answered(self, asked: Asked, frame: Frame) -> None:
        try:
            asked.take(frame)
        except AssertionError as error:
            self.faults.append(str(error))
            raise
        if asked.over.is_set():
            del self._asked[asked.number]
            if self.acknowledges:
                await self.send(Frame(FrameKind.ACK, asked.number))
        elif asked.reads and asked.credit - len(asked.said) <= WINDOW // 2:
            await self.credit(asked, len(asked.said) + WINDOW)

    async def _greet(
        self, hello: Hello, taken: web.WebSocketResponse, transport: asyncio.Transport
    ) -> None:
        self.hellos.append(hello)
        if not self.accepts:
            if self.says_instead is not None:
                await taken.send_bytes(self.says_instead)
            return
        resumed = hello.hub == self.name and hello.link == self._link
        if not resumed:
            self._asked.clear()
        self._link = hello.link
        self._socket, self._transport = taken, transport
        accept = Accept(
            hub=self.name,
            session=f"session-{len(self.hellos)}",
            session_s=self.session_s,
            resumed=resumed,
            streams={number: asked.state for number, asked in self._asked.items()},
        )
        again: list[Frame] = [Frame(FrameKind.ACCEPT, payload=accept.to_payload())]
        for number, asked in self._asked.items():
            if number in hello.bodies:
                again += self._body(asked, hello.bodies[number], len(asked.body))
            else:
                again += self._request(asked, 0, len(asked.body))
        await self.send(*again)
        self.resumed.append(resumed)


@asynccontextmanager
async def hub_that_asks(
    context: ssl.SSLContext | None = None, *, port: int = 0
) -> AsyncIterator[tuple[HubThatAsks, str]]:
    """Serve such a hub on the loopback; yields it and the address that relays dial."""
    hub = HubThatAsks()
    application = web.Application()
    application.router.add_get("/relay/v1/connect", hub.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    opened = socket.create_server(("127.0.0.1", port))
    await web.SockSite(runner, opened, ssl_context=context).start()
    scheme, host = ("ws", "127.0.0.1") if context is None else ("wss", "localhost")
    try:
        yield hub, f"{scheme}://{host}:{opened.getsockname()[1]}/relay/v1/connect"
    finally:
        hub.cut()
        await runner.cleanup()
