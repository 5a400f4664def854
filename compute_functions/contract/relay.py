"""The values in the frames between a relay and a hub: JSON, each a dataclass.

`to_payload` writes one, `from_payload` reads it or raises `ContractError`. Fields that are not
known are passed over, so that either side may add some without a new version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self, cast

from compute_functions.contract import fields
from compute_functions.contract.errors import ContractError
from compute_functions.contract.failures import FailureCode, failure_code
from compute_functions.contract.fields import JsonObject

#: Instances may name no more paths, and links no more streams, than this.
MOST_ITEMS = 100_000


def _plain(value: object) -> JsonObject:
    """Return a value within another one as JSON's encoder knows it."""
    return dict(value) if isinstance(value, Mapping) else asdict(cast("StreamState", value))


# Made once: `json.dumps` with separators makes one for each call.
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=_plain)


def _read(payload: bytes) -> JsonObject:
    try:
        # Decoded here: `json.loads` would first look for other encodings, for every answer.
        values = json.loads(payload.decode("utf-8"))
    except ValueError as error:  # also half a character, and nesting that is too deep
        raise ContractError("a payload is not JSON") from error
    except RecursionError:
        raise ContractError("a payload is nested too deeply") from None
    if not isinstance(values, dict):
        raise ContractError("a payload is not an object")
    return values


class Payload:
    """A value that is a frame's payload."""

    __slots__: tuple[str, ...] = ()

    def to_payload(self) -> bytes:
        """Return the payload."""
        # Not `asdict`, which copies deeply: some are written for every answer.
        values = {name: getattr(self, name) for name in self.__slots__}
        return _ENCODER.encode(values).encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Payload):
    """HELLO: which instance the relay stands for, and what it has of this link's streams.

    `link` is a random name that the relay gave to the link; it stays the same when the relay dials
    again to go on with it, and `bodies` then says how many bytes of each request's body have come,
    by stream. `hub` is the hub's name from its last `Accept`, nothing at first. `paths` are those
    that requests may use, as `/v1/chat/completions`. `run` is a random name that the relay's
    process gave to itself: of links of another run of the instance it has nothing. Older relays say
    none, from which nothing follows.
    """

    instance: str
    link: str
    paths: tuple[str, ...]
    hub: str = ""
    run: str = ""
    bodies: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Read what `to_payload` wrote."""
        values = _read(payload)
        paths = values.get("paths")
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise ContractError("paths is not a list of strings")
        return cls(
            instance=fields.text(values, "instance"),
            link=fields.text(values, "link"),
            paths=tuple(paths),
            hub=fields.text(values, "hub"),
            run=fields.text(values, "run") if "run" in values else "",
            bodies=_numbered(values.get("bodies")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """What a hub has of one answer: whether its head, and its body up to `received`.

    The relay may send the body up to `credit`.
    """

    head: bool
    received: int
    credit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept(Payload):
    """ACCEPT: the hub takes the link.

    `hub` is the name of the hub's process, `resumed` tells whether the link goes on where it was
    cut; then `streams` are all whose answers are still wanted, and every other has been cancelled.
    `session` opens further connections of the instance, to any hub, for `session_s` seconds.
    """

    hub: str
    session: str
    session_s: float
    resumed: bool = False
    streams: Mapping[int, StreamState] = field(default_factory=dict)

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Read what `to_payload` wrote."""
        values = _read(payload)
        streams = values.get("streams")
        if not isinstance(streams, dict) or len(streams) > MOST_ITEMS:
            raise ContractError("streams is not an object")
        return cls(
            hub=fields.text(values, "hub"),
            session=fields.text(values, "session"),
            session_s=fields.number(values, "session_s"),
            resumed=fields.flag(values, "resumed"),
            streams={_stream(name): _stream_state(state) for name, state in streams.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal(Payload):
    """RENEW: a session for the time after the present one."""

    session: str
    session_s: float

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Read what `to_payload` wrote."""
        values = _read(payload)
        return cls(
            session=fields.text(values, "session"), session_s=fields.number(values, "session_s")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayRequest(Payload):
    """REQUEST: one request for the engine, without its body, which has `body_bytes`.

    `path` is one of those in `Hello`. The engine has `timeout_s` seconds for its answer's head, and
    for the whole answer if that is no event stream; between two parts of an event stream it may be
    silent for `silence_s`.
    """

    request_id: str
    path: str
    body_bytes: int
    timeout_s: float
    silence_s: float
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Read what `to_payload` wrote."""
        values = _read(payload)
        return cls(
            request_id=fields.text(values, "request_id"),
            path=fields.text(values, "path"),
            body_bytes=fields.count(values, "body_bytes"),
            timeout_s=fields.number(values, "timeout_s"),
            silence_s=fields.number(values, "silence_s"),
            headers=fields.headers(values, "headers"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead(Payload):
    """HEAD: how the engine's answer begins, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Read what `to_payload` wrote."""
        values = _read(payload)
        return cls(
            status=fields.whole_number(values, "status"), headers=fields.headers(values, "headers")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEnd(Payload):
    """END: the engine's answer is whole.

    `engine_s` is the time from the request's first byte to the engine's last one, `site_s` all the
    time that the relay had the request (both seconds).
    """

    engine_s: float = 0.0
    site_s: float = 0.0

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Read what `to_payload` wrote."""
        values = _read(payload)
        return cls(
            engine_s=fields.number(values, "engine_s"), site_s=fields.number(values, "site_s")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerError(Payload):
    """ERROR: there will be no whole answer."""

    code: FailureCode
    message: str

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Read what `to_payload` wrote."""
        values = _read(payload)
        return cls(code=failure_code(values), message=fields.text(values, "message"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad(Payload):
    """STATS: how many requests the engine runs, and how many wait in it."""

    running: float
    waiting: float

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Read what `to_payload` wrote."""
        values = _read(payload)
        return cls(
            running=fields.number(values, "running"), waiting=fields.number(values, "waiting")
        )


def _numbered(value: object) -> dict[int, int]:
    if not isinstance(value, dict) or len(value) > MOST_ITEMS:
        raise ContractError("bodies is not an object")
    return {_stream(name): fields.count(value, name) for name in value}


def _stream(name: str) -> int:
    if not name.isascii() or not name.isdecimal() or len(name) > len(str(2**32)):
        raise ContractError(f"{fields.quoted(name)} is no stream's number")
    return int(name)


def _stream_state(value: object) -> StreamState:
    if not isinstance(value, dict):
        raise ContractError("a stream's state is not an object")
    return StreamState(
        head=fields.flag(value, "head"),
        received=fields.count(value, "received"),
        credit=fields.count(value, "credit"),
    )
