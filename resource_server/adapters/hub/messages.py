"""What web processes and the hub say to each other: values as MessagePack, bodies as they are.

Both sides are the same installation on the same host. Each message is HTTP/1.1 on a Unix socket.
Its header `x-hotnode-hub` names the version; its content is a value, whose length stands in the
header `x-hotnode-value`, and after it the body of a request or an answer, byte for byte. The answer
to `/stream` alone is another: see `parts`. `/watch` is a WebSocket, whose binary messages are one
value each: `Views` from the hub, `Waiting` from a web process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Final

import msgspec

from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest, StreamHead
from resource_server.domain.lifecycle import Observation, Place, SiteView
from resource_server.domain.site_functions import SiteFunction
from resource_server.services.demand import Waiters

#: Grows with every change of the messages; other versions are refused.
PROTOCOL: Final = 7
VERSION_HEADER: Final = "x-hotnode-hub"
LENGTH_HEADER: Final = "x-hotnode-value"
VERSION: Final = f"{PROTOCOL} hotnode/{version('hotnode')}"

INFER: Final = "/infer"
STREAM: Final = "/stream"
CANCEL: Final = "/cancel"
OBSERVE: Final = "/observe"
CALL: Final = "/call"
WATCH: Final = "/watch"
AVAILABLE: Final = "/available"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request for a cluster, under an id by which its sender can take it back."""

    id: str
    cluster: Cluster
    request: InferenceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """The wish to take a call back, if it has not left the hub."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The question what a cluster runs."""

    cluster: Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """The call of a site's function. The value that it is called with is the message's body."""

    cluster: Cluster
    function: SiteFunction
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a site's function gave, as the message's body, and how soon to ask again (seconds)."""

    pause_s: float
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One of our errors as a value: its class, its text, and the facts that it carries."""

    kind: str
    message: str
    facts: Mapping[str, str | bool | float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a call or a question; nothing of both if a call was taken back in time.

    Of one that was taken back late its engine may have been `stopped`.
    """

    answer: InferenceAnswer | None = None
    stopped: bool = False
    observation: Observation | None = None
    returned: Returned | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBegun:
    """The beginning of a streamed answer."""

    head: StreamHead
    hops: Hops


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded:
    """The end of a streamed answer, or of the attempt to get one: whole, or why it is not."""

    hops: Hops = field(default_factory=Hops)
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What the hub knows of some sites, to a web process that watches."""

    views: tuple[SiteView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Who waits in a web process, for all places: what is left out, nobody there wants."""

    counts: tuple[tuple[Place, Waiters], ...]


Value = Call | Cancellation | Question | FunctionCall | Outcome

_encoder = msgspec.msgpack.Encoder()
_calls = msgspec.msgpack.Decoder(Call)
_cancellations = msgspec.msgpack.Decoder(Cancellation)
_questions = msgspec.msgpack.Decoder(Question)
_function_calls = msgspec.msgpack.Decoder(FunctionCall)
_outcomes = msgspec.msgpack.Decoder(Outcome)
_beginnings = msgspec.msgpack.Decoder(StreamBegun)
_views = msgspec.msgpack.Decoder(Views)
_waiting = msgspec.msgpack.Decoder(Waiting)
_ends = msgspec.msgpack.Decoder(StreamEnded)


def encode(value: Value) -> tuple[bytes, bytes]:
    """Return a value without its body, and the body."""
    match value:
        case Call(request=request):
            bare = replace(request, body=b"")
            return _encoder.encode(
                Call(id=value.id, cluster=value.cluster, request=bare)
            ), request.body
        case Outcome(answer=InferenceAnswer() as answer):
            return _encoder.encode(Outcome(answer=replace(answer, body=b""))), answer.body
        case FunctionCall(body=body):
            return _encoder.encode(replace(value, body=b"")), body
        case Outcome(returned=Returned() as returned):
            return _encoder.encode(Outcome(returned=replace(returned, body=b""))), returned.body
        case _:
            return _encoder.encode(value), b""


def read_call(value: bytes, body: bytes) -> Call:
    """Return the call that `encode` was given."""
    call = _calls.decode(value)
    return Call(id=call.id, cluster=call.cluster, request=replace(call.request, body=body))


def read_cancellation(value: bytes) -> Cancellation:
    """Return the cancellation that `encode` was given."""
    return _cancellations.decode(value)


def read_question(value: bytes) -> Question:
    """Return the question that `encode` was given."""
    return _questions.decode(value)


def read_function_call(value: bytes, body: bytes) -> FunctionCall:
    """Return the call of a function that `encode` was given."""
    return replace(_function_calls.decode(value), body=body)


def read_outcome(value: bytes, body: bytes) -> Outcome:
    """Return the outcome that `encode` was given."""
    outcome = _outcomes.decode(value)
    if outcome.answer is not None:
        return Outcome(answer=replace(outcome.answer, body=body))
    if outcome.returned is not None:
        return Outcome(returned=replace(outcome.returned, body=body))
    return outcome


def encode_stream(value: StreamBegun | StreamEnded) -> bytes:
    """Return a value about a stream."""
    return _encoder.encode(value)


def read_stream_begun(value: bytes) -> StreamBegun:
    """Return the beginning that `encode_stream` was given."""
    return _beginnings.decode(value)


def read_stream_ended(value: bytes) -> StreamEnded:
    """Return the end that `encode_stream` was given."""
    return _ends.decode(value)


def encode_watch(value: Views | Waiting) -> bytes:
    """Return what is said on a watch, either way."""
    return _encoder.encode(value)


def read_views(value: bytes) -> Views:
    """Return the views that `encode_watch` was given."""
    return _views.decode(value)


def read_waiting(value: bytes) -> Waiting:
    """Return the counts that `encode_watch` was given."""
    return _waiting.decode(value)
