"""The streams of one link: which requests it carries, and what comes for them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from compute_functions import carriage
from compute_functions.contract.errors import ContractError
from compute_functions.contract.failures import FailureCode
from compute_functions.contract.frames import MAX_DATA, Frame, FrameKind
from compute_functions.contract.packing import MAX_UNPACKED
from compute_functions.contract.relay import Accept, AnswerError, RelayRequest
from compute_functions.errors import ProtocolBroken
from compute_functions.relay.answer import Answer
from compute_functions.relay.engine_calls import EngineCalls
from compute_functions.relay.outbox import Outbox
from compute_functions.relay.recent import RecentRequests
from compute_functions.relay.stream import Stream

#: So many streams a link may have, the ones that were refused and not yet forgotten included.
MOST_STREAMS = 10_000
#: So many bytes of bodies may wait in a relay for their rest.
MOST_BODY_BYTES = 1024 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Service:
    """What all links of a relay serve from.

    `paths` maps what callers may ask for to the engine's own; `promised` counts the bytes of the
    bodies of requests that run. `run` tells hubs this process from the one before it.
    """

    calls: EngineCalls
    paths: Mapping[str, str]
    recent: RecentRequests = field(default_factory=RecentRequests)
    draining: bool = False
    promised: int = 0
    run: str = field(default_factory=partial(secrets.token_urlsafe, 16))


@dataclass(slots=True, kw_only=True)
class _Refused:
    """A request that does not run, until the hub has heard of it."""

    answer: Answer
    received: int

    def take(self, offset: int, data: bytes) -> None:
        """Pass over the body."""
        self.received = max(self.received, offset + len(data))

    def cancel(self) -> None:
        """Nothing runs."""


class Streams:
    """The table of a link's streams."""

    def __init__(self, service: Service, outbox: Outbox) -> None:
        self._service = service
        self._outbox = outbox
        self._table: dict[int, Stream | _Refused] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._handlers: dict[FrameKind, Callable[[Frame], None]] = {
            FrameKind.REQUEST: self._on_request,
            FrameKind.DATA: self._on_data,
            FrameKind.CREDIT: self._on_credit,
            FrameKind.ACK: self._on_ack,
            FrameKind.CANCEL: self._on_cancel,
        }

    def __len__(self) -> int:
        return len(self._table)

    def take(self, frame: Frame) -> None:
        """Act on a frame of the hub, or raise `ProtocolBroken` or `ContractError`."""
        handler = self._handlers.get(frame.kind)
        if handler is None or frame.stream == 0:
            raise ProtocolBroken(f"{frame.kind.name} of stream {frame.stream} is no hub's to send")
        handler(frame)

    def bodies(self) -> dict[int, int]:
        """Return how much of each request's body has come."""
        return {number: stream.received for number, stream in self._table.items()}

    def resume(self, accept: Accept) -> None:
        """Go on with the streams that the hub still wants, and cancel the others."""
        for number in [number for number in self._table if number not in accept.streams]:
            self._forget(number)
        for number, hub_has in accept.streams.items():
            if stream := self._table.get(number):
                stream.answer.resume(hub_has)

    def cancel(self) -> None:
        """Hang up on the engine for all of them, and forget them."""
        for number in list(self._table):
            self._forget(number)

    async def empty(self) -> None:
        """Wait until the hub has heard of the end of every stream."""
        await self._empty.wait()

    async def close(self) -> None:
        """Cancel all, and return when nothing runs any more."""
        self.cancel()
        if self._running:
            await asyncio.wait(self._running)

    def _on_request(self, frame: Frame) -> None:
        if frame.stream in self._table:
            raise ProtocolBroken(f"stream {frame.stream} is asked for twice")
        if len(self._table) >= MOST_STREAMS:
            raise ProtocolBroken(f"more than {MOST_STREAMS} streams")
        answer = Answer(frame.stream, frame.offset, self._outbox)
        self._empty.clear()
        self._table[frame.stream] = self._admitted(frame.payload, answer)

    def _admitted(self, payload: bytes, answer: Answer) -> Stream | _Refused:
        try:
            request = RelayRequest.from_payload(payload)
        except ContractError as error:
            # One request that nobody can read is no reason to end all others of the link.
            return _refused(answer, FailureCode.INVALID_REQUEST, f"the request: {error}")
        refusal = self._refusal(request)
        return self._begun(request, answer) if refusal is None else _refused(answer, *refusal)

    def _begun(self, request: RelayRequest, answer: Answer) -> Stream:
        self._service.promised += request.body_bytes
        return Stream(
            request,
            answer,
            path=self._service.paths[request.path],
            calls=self._service.calls,
            running=self._running,
            ended=partial(self._on_end, request),
        )

    def _on_end(self, request: RelayRequest) -> None:
        self._service.promised -= request.body_bytes
        self._service.recent.end(request.request_id)

    def _refusal(self, request: RelayRequest) -> tuple[FailureCode, str] | None:
        """Return why a request does not run; the last question also notes that it does."""
        if self._service.draining:
            return FailureCode.DRAINING, "the instance stops"
        if request.path not in self._service.paths:
            return FailureCode.PATH_NOT_ALLOWED, "the path is not served here"
        if wrong := _wrong(request):
            return FailureCode.INVALID_REQUEST, wrong
        if self._service.promised + request.body_bytes > MOST_BODY_BYTES:
            return FailureCode.BUSY, "the relay holds too many bodies"
        if not self._service.recent.begin(request.request_id):
            return FailureCode.DUPLICATE, "a request of this id runs or has run"
        return None

    def _on_data(self, frame: Frame) -> None:
        if len(frame.payload) > MAX_DATA:
            raise ContractError(f"DATA of {len(frame.payload)} bytes")
        if stream := self._table.get(frame.stream):
            stream.take(frame.offset, frame.payload)

    def _on_credit(self, frame: Frame) -> None:
        if stream := self._table.get(frame.stream):
            stream.answer.credit(frame.offset)

    def _on_ack(self, frame: Frame) -> None:
        stream = self._table.get(frame.stream)
        if stream is None:
            return
        if not stream.answer.over:
            raise ProtocolBroken(f"ACK of stream {frame.stream}, which is not over")
        self._forget(frame.stream)

    def _on_cancel(self, frame: Frame) -> None:
        if frame.stream in self._table:
            self._forget(frame.stream)

    def _forget(self, number: int) -> None:
        self._table.pop(number).cancel()
        if not self._table:
            self._empty.set()


def _refused(answer: Answer, code: FailureCode, message: str) -> _Refused:
    answer.fail(AnswerError(code=code, message=message))
    return _Refused(answer=answer, received=0)


def _wrong(request: RelayRequest) -> str:
    if not request.request_id or not request.request_id.isprintable():
        return "the request's id is none"
    for seconds in (request.timeout_s, request.silence_s):
        if not carriage.patience_is_within_reason(seconds):
            return f"{seconds!r} s is not between 0 and {carriage.MAX_TIMEOUT_S:g}"
    if request.body_bytes > MAX_UNPACKED:
        return f"a body of {request.body_bytes} bytes; {MAX_UNPACKED} are possible"
    return ""
