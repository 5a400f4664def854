"""One instance's link: the requests it carries, over one connection after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from compute_functions.contract import ContractError
from compute_functions.contract.frames import WINDOW, Frame, FrameKind, decoded, encoded
from compute_functions.contract.relay import (
    Accept,
    AnswerEnd,
    AnswerHead,
    EngineLoad,
    Hello,
    RelayRequest,
    Renewal,
)
from resource_server.adapters.relay import failures
from resource_server.adapters.relay.connection import Connection
from resource_server.adapters.relay.doubts import FAILED, Doubts, Patience
from resource_server.adapters.relay.instance import RelayInstance
from resource_server.adapters.relay.load import Load
from resource_server.adapters.relay.shares import RequestRoom
from resource_server.adapters.relay.stream import RelayStream
from resource_server.adapters.relay.traffic import LinkState, Traffic
from resource_server.adapters.relay.upload import MOST_REQUEST, Upload
from resource_server.adapters.site_failures import interrupted
from resource_server.domain import errors

log = structlog.get_logger()

#: Requests that one link carries at once; engines batch a few hundred.
MOST_STREAMS = 2048
_LAST_NUMBER = 2**32 - 1
_SUCCEEDED = "another process of its relay has linked"


class Link:
    """Carries requests to one instance. It outlives the connection it began with.

    `gone` is called once the link is over, with the reason.
    """

    def __init__(
        self,
        instance: RelayInstance,
        hello: Hello,
        *,
        traffic: Traffic,
        room: RequestRoom,
        gone: Callable[[Link, str], None],
        patience: Patience,
    ) -> None:
        self.instance = instance
        self.name = hello.link
        self.run = hello.run
        self.paths = frozenset(hello.paths)
        self.load = Load()
        #: The public key of the site by which it was let in, and when its session is renewed.
        self.key = ""
        self.renew_at = 0.0
        self._traffic = traffic
        self._room = room
        self._gone = gone
        self._patience = patience
        self._doubts = Doubts(self._end_doubted, silent_s=patience.doubted_s)
        self._streams: dict[int, RelayStream] = {}
        self._last_number = 0
        self._connection: Connection | None = None
        self._draining = False
        self._succeeded = False
        self._timer: asyncio.TimerHandle | None = None
        self._cut_at = 0.0
        self._empty: asyncio.Future[None] | None = None

    @property
    def state(self) -> LinkState:
        """How it fares."""
        if self._connection is None:
            return LinkState.PARKED
        takes_none = self._draining or self._doubts.any
        return LinkState.DRAINING if takes_none else LinkState.READY

    @property
    def requests(self) -> int:
        """How many requests are under way."""
        return len(self._streams)

    @property
    def busyness(self) -> float:
        """How many requests its engine has, as far as we know."""
        return self.load.now(len(self._streams))

    # Requests

    def open(self, request: RelayRequest, body: bytes, *, silence_s: float) -> RelayStream:
        """Send a request, whose reader waits for each piece so long; nothing is waited for here."""
        cluster = self.instance.cluster
        if self.state is not LinkState.READY or self._connection is None:
            raise failures.not_sent(cluster)
        payload = request.to_payload()
        if len(payload) > MOST_REQUEST:
            raise errors.PayloadTooLarge(
                "The request's headers are larger than the connection to the cluster carries.",
                limit_bytes=MOST_REQUEST,
            )
        if len(self._streams) >= MOST_STREAMS or not self._room.take(len(body)):
            raise failures.too_many(cluster)
        number = self._next_number()
        upload = Upload(number, payload, body, credit=WINDOW)
        stream = self._streams[number] = RelayStream(
            self, number, upload=upload, cluster=cluster, silence_s=silence_s
        )
        self._connection.add(upload)
        return stream

    def credit(self, number: int, offset: int) -> None:
        """Let the relay send up to `offset`; one that is away learns of it when it is back."""
        if self._connection is not None:
            self._put(Frame(FrameKind.CREDIT, number, offset))

    def cancel(self, number: int) -> None:
        """Have the relay stop, and forget the stream."""
        stream = self._streams.get(number)
        if stream is None:
            return
        self._forget(number)
        if stream.upload.left:
            self._put(Frame(FrameKind.CANCEL, number))

    # The connection

    def connect(self, connection: Connection, accept: Accept) -> None:
        """Begin, on the first connection."""
        self._connection = connection
        self._put(Frame(FrameKind.ACCEPT, payload=accept.to_payload()))

    def resume(self, connection: Connection, hello: Hello, accept: Accept) -> None:
        """Go on, on another connection; raises `ContractError` if that cannot be."""
        for number, stream in self._streams.items():
            if hello.bodies.get(number, 0) > stream.upload.size:
                raise ContractError("more of a request's body has come than there is")
        before, self._connection = self._connection, None
        if before is not None:
            # It is dead, and nobody has noticed yet.
            before.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end_lost(hello)
        self.paths = frozenset(hello.paths)
        self._draining = self._succeeded = False
        self._traffic.resumes += 1
        states = {number: stream.state for number, stream in self._streams.items()}
        self.connect(connection, replace(accept, resumed=True, streams=states))
        for number, stream in self._streams.items():
            stream.upload.resume(hello.bodies.get(number))
            if stream.upload.pending:
                connection.add(stream.upload)

    def belongs_to(self, connection: Connection) -> bool:
        """Tell whether this is the connection in use."""
        return self._connection is connection

    def cut(self, connection: Connection, reason: str) -> None:
        """Wait for the relay to dial again, and say so; what was not sent yet is given back."""
        if self._connection is not connection:
            return
        self._connection = None
        self._cut_at = asyncio.get_running_loop().time()
        self._give_back()
        log.warning("relay_cut", **self.fields(), reason=reason, requests=len(self._streams))
        if self._draining and not self._streams:
            self._gone(self, "drained")
            return
        if self._succeeded:
            self.end(_SUCCEEDED, gone=True)
            return
        if self._doubts.any:
            self.end(FAILED, gone=True)
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience.resume_s, self._end_away)

    def succeed(self) -> None:
        """Take it that the relay's next process has linked: once this is cut, it is over.

        Until that is noticed it is left alone: its relay may live, though another took its name.
        """
        self._succeeded = True
        if self.state is LinkState.PARKED:
            self.end(_SUCCEEDED, gone=True)

    def doubt(self) -> bool:
        """Take it that the instance has failed: silence is its end. Tell whether that is news."""
        if self.state is LinkState.PARKED:
            self.end(FAILED, gone=True)
            return False  # Its end was told of.
        return self._doubts.begin()

    def trust(self) -> bool:
        """Take it that the instance has not failed; tell whether that is news."""
        return self._doubts.end()

    def end(self, reason: str, *, code: int = 1001, gone: bool = False) -> None:
        """End the link and all its requests, with an honest error each.

        If the relay is `gone`, those that it has not begun to answer may be asked elsewhere; not if
        it is sent away, for what it said or does.
        """
        self._doubts.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(code, reason)
        self._give_back()
        for number, stream in list(self._streams.items()):
            self._forget(number)
            stream.fail(self._lost(stream, gone=gone))
        self._gone(self, reason)

    def drain(self) -> None:
        """Say that no new requests come."""
        self._draining = True
        self._put(Frame(FrameKind.DRAIN))

    def renew(self, session: str, session_s: float) -> None:
        """Give the relay a new session."""
        payload = Renewal(session=session, session_s=session_s).to_payload()
        self._put(Frame(FrameKind.RENEW, payload=payload))

    async def emptied(self) -> None:
        """Wait until no request is under way."""
        if self._streams:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    def away_s(self) -> float:
        """Return for how long it has been cut; not at all while nobody has noticed."""
        if self._connection is not None:
            return 0.0
        return asyncio.get_running_loop().time() - self._cut_at

    def fields(self) -> dict[str, str]:
        """Return what the log says of the link."""
        instance = self.instance
        return {
            "cluster": instance.cluster,
            "framework": instance.framework,
            "model": instance.model,
            "instance": instance.instance,
            "job": instance.job,
            "link": self.name,
        }

    # What the relay says

    def receive(self, message: bytes) -> None:
        """Take a message of the relay; raises `ContractError` if it breaks the protocol."""
        self._traffic.from_site += len(message)
        self._doubts.heard = True
        streams = self._streams
        for kind, number, offset, payload in decoded(message):
            if kind is FrameKind.DATA:
                stream = streams.get(number)
                if stream is not None:
                    stream.take_data(offset, payload)
            elif number:
                self._take_about_stream(kind, number, offset, payload)
            else:
                self._take_about_link(kind, payload)

    def _take_about_stream(self, kind: FrameKind, number: int, offset: int, payload: bytes) -> None:
        if kind not in _OF_STREAMS:
            raise ContractError(f"{kind.name} is not for a relay to say of a stream")
        stream = self._streams.get(number)
        if stream is None:
            return  # It crossed a CANCEL or an ACK on its way.
        if kind is FrameKind.HEAD:
            stream.take_head(AnswerHead.from_payload(payload))
            return
        if kind is FrameKind.END:
            stream.take_end(offset, AnswerEnd.from_payload(payload))
        else:
            stream.take_error(offset, failures.of_site(self.instance.cluster, payload))
        self._forget(number)
        self._put(Frame(FrameKind.ACK, number))

    def _take_about_link(self, kind: FrameKind, payload: bytes) -> None:
        if kind is FrameKind.DRAIN:
            self._draining = True
        elif kind is FrameKind.STATS:
            load = EngineLoad.from_payload(payload)
            told = max(0.0, load.running) + max(0.0, load.waiting)
            self.load.take(told, len(self._streams))
        else:
            raise ContractError(f"{kind.name} is not for a relay to say now")

    # Inside

    def _end_away(self) -> None:
        self.end("it did not come back", gone=True)

    def _end_doubted(self) -> None:
        self.end(FAILED, gone=True)

    def _end_lost(self, hello: Hello) -> None:
        """End the requests that the relay has forgotten though it had begun to answer them."""
        for number, stream in list(self._streams.items()):
            if stream.began and number not in hello.bodies:
                self._forget(number)
                self._traffic.interrupted += 1
                stream.fail(interrupted(self.instance.cluster, began=True))

    def _lost(self, stream: RelayStream, *, gone: bool) -> errors.HotnodeError:
        """Return the error of a request whose link is over."""
        if not stream.upload.all_left and not stream.began:
            # The relay has not asked its engine, and never will.
            return failures.not_sent(self.instance.cluster)
        self._traffic.interrupted += 1
        error = interrupted(self.instance.cluster, began=stream.began)
        error.lost_unanswered = gone and not stream.began
        return error

    def _give_back(self) -> None:
        """Give back the requests of which nothing has left."""
        for number, stream in list(self._streams.items()):
            if not stream.upload.left:
                self._forget(number)
                stream.fail(failures.not_sent(self.instance.cluster))

    def _forget(self, number: int) -> None:
        self._room.give_back(self._streams.pop(number).upload.size)
        if not self._streams and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def _put(self, frame: Frame) -> None:
        if self._connection is not None:
            self._connection.put(encoded(frame))

    def _next_number(self) -> int:
        number = self._last_number
        while True:
            number = number % _LAST_NUMBER + 1
            if number not in self._streams:
                self._last_number = number
                return number


_OF_STREAMS = frozenset({FrameKind.HEAD, FrameKind.END, FrameKind.ERROR})
