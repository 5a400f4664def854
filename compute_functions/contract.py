"""The wire between gateway and cluster: every value that crosses Globus Compute, versioned.

Both sides import this module and nothing else of each other. A value is a frozen dataclass with
`to_wire` (a JSON-ready dict) and a `from_wire` that raises `ContractError` for anything it does
not understand. The registered stubs call `compute_functions.run_request.run_request` and
`compute_functions.instances.site_status` with one such dict and return one such dict.

Version 1. A site refuses requests of another version with the failure `unsupported_protocol`.
"""

from __future__ import annotations

import base64
import binascii
import reprlib
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeAlias

PROTOCOL_VERSION = 1

JsonObject: TypeAlias = dict[str, Any]

#: Globus Compute refuses more than this in one submission and in one result (bytes, packed).
GLOBUS_PAYLOAD_LIMIT = 10_000_000
#: Room for the envelope (ids, headers, the service's own fields) beside a body, in bytes.
ENVELOPE_ALLOWANCE = 16_384
#: Bodies shorter than this travel as text: compressing them costs more than it saves (bytes).
COMPRESS_FROM = 1_024
#: The most a body may become when it is unpacked (bytes): nobody can send a zip bomb.
MAX_UNPACKED = 64 * 1024 * 1024
#: Times and durations are far smaller; what is not has no meaning here.
NUMBER_LIMIT = 1e15
#: So much of a value that is not understood is quoted in an error (characters).
QUOTED_LENGTH = 200

_QUOTER = reprlib.Repr()
_QUOTER.maxstring = QUOTED_LENGTH


class ContractError(ValueError):
    """The other side sent something this version of the contract does not know."""


class UnsupportedProtocol(ContractError):
    """The other side speaks another version of the contract."""


class FailureCode(StrEnum):
    """Why a site could not answer; an engine's own errors are answers, not failures."""

    MODEL_NOT_RUNNING = "model_not_running"
    ENGINE_UNREACHABLE = "engine_unreachable"
    ENGINE_TIMEOUT = "engine_timeout"
    RESPONSE_TOO_LARGE = "response_too_large"
    PATH_NOT_ALLOWED = "path_not_allowed"
    INVALID_REQUEST = "invalid_request"
    EXPIRED = "expired"
    UNSUPPORTED_PROTOCOL = "unsupported_protocol"
    #: The site's operators must act: HOTNODE_SITE_DIR is not set, or a file is missing.
    SITE_MISCONFIGURED = "site_misconfigured"


class InstanceState(StrEnum):
    """Where one model instance stands at the site (architecture, section 5)."""

    QUEUED = "queued"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


def pack(body: bytes) -> JsonObject:
    """Return `body` in the form in which it survives JSON inside JSON at the least size."""
    if len(body) < COMPRESS_FROM:
        try:
            return {"text": body.decode("utf-8")}
        except UnicodeDecodeError:
            return {"zlib": _compressed(body)}
    return {"zlib": _compressed(body)}


def unpack(packed: object) -> bytes:
    """Return the bytes that `pack` was given, or raise `ContractError`."""
    match packed:
        case {"text": str() as text}:
            return _encoded(text, "a body")
        case {"zlib": str() as data}:
            return _decompressed(data)
        case _:
            raise ContractError("a body is neither text nor zlib")


def packed_size(packed: JsonObject) -> int:
    """Return the bytes that a packed body adds to a submission or result.

    Text is quoted once as a JSON string and once more inside the submission; base64 needs no
    quoting.
    """
    text = packed.get("text")
    if text is None:
        return len(packed["zlib"])
    return 4 * len(text.encode("utf-8")) + 16


def _compressed(body: bytes) -> str:
    return base64.b64encode(zlib.compress(body, 6)).decode("ascii")


def _decompressed(data: str) -> bytes:
    try:
        inflater = zlib.decompressobj()
        body = inflater.decompress(base64.b64decode(data, validate=True), MAX_UNPACKED)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise ContractError("a zlib body cannot be read") from error
    if not inflater.eof:
        raise ContractError(f"a zlib body is cut off or unpacks to more than {MAX_UNPACKED} bytes")
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """One OpenAI request for an engine: names and bounded numbers, never a command or an address.

    `path` is `/v1/` and the route, as `/v1/chat/completions`; each engine's file says where the
    engine has it. `body` is of the type that the header `content-type` names, JSON without one;
    a multipart form keeps its boundary there. `timeout_s` is what is left of
    the caller's patience when the request leaves the gateway. After `expires_at` (seconds since
    the epoch, the gateway's clock; None: never) nobody waits any more: an endpoint that was away
    drops what it then finds in its queue.
    """

    request_id: str
    framework: str
    model: str
    path: str
    body: bytes
    timeout_s: float
    expires_at: float | None = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_wire(self) -> JsonObject:
        """Return the argument of the `run_request` stub."""
        return {
            "v": PROTOCOL_VERSION,
            "request_id": self.request_id,
            "framework": self.framework,
            "model": self.model,
            "method": self.method,
            "path": self.path,
            "headers": dict(self.headers),
            "body": pack(self.body),
            "timeout_s": self.timeout_s,
            "expires_at": self.expires_at,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = versioned(wire)
        return cls(
            request_id=_text(values, "request_id"),
            framework=_text(values, "framework"),
            model=_text(values, "model"),
            method=_text(values, "method"),
            path=_text(values, "path"),
            headers=_headers(values.get("headers")),
            body=unpack(values.get("body")),
            timeout_s=_number(values, "timeout_s"),
            expires_at=None if values.get("expires_at") is None else _number(values, "expires_at"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAnswer:
    """What the engine said, whatever its status: a 400 of the engine is an answer.

    `engine_s` is the time from the request's first byte to the engine's last one as the site saw
    it, `site_s` all the time the site's function took (both seconds).
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    engine_s: float = 0.0
    site_s: float = 0.0

    def to_wire(self) -> JsonObject:
        """Return the result of the `run_request` stub."""
        return {
            "v": PROTOCOL_VERSION,
            "kind": "answer",
            "status": self.status,
            "headers": dict(self.headers),
            "body": pack(self.body),
            "engine_s": self.engine_s,
            "site_s": self.site_s,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = versioned(wire)
        return cls(
            status=_status(values),
            headers=_headers(values.get("headers")),
            body=unpack(values.get("body")),
            engine_s=_number(values, "engine_s"),
            site_s=_number(values, "site_s"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFailure:
    """The site could not get an answer from an engine; a value, so nobody parses an exception."""

    code: FailureCode
    message: str

    def to_wire(self) -> JsonObject:
        """Return the result of a stub that failed."""
        return {
            "v": PROTOCOL_VERSION,
            "kind": "failure",
            "code": self.code.value,
            "message": self.message,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = versioned(wire)
        try:
            code = FailureCode(_text(values, "code"))
        except ValueError:
            # Not as a cause: its text repeats the value uncut.
            raise ContractError(f"unknown failure code {_quoted(values.get('code'))}") from None
        return cls(code=code, message=_text(values, "message"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One model instance as the site sees it; the same fields for a process and for a Slurm job."""

    model: str
    framework: str
    state: InstanceState
    job_id: str
    host: str
    started_at: float
    detail: str = ""

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return asdict(self) | {"state": self.state.value}

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        if not isinstance(wire, dict):
            raise ContractError("an instance is not an object")
        try:
            state = InstanceState(_text(wire, "state"))
        except ValueError:
            # Not as a cause: its text repeats the value uncut.
            raise ContractError(f"unknown instance state {_quoted(wire.get('state'))}") from None
        return cls(
            model=_text(wire, "model"),
            framework=_text(wire, "framework"),
            state=state,
            job_id=_text(wire, "job_id"),
            host=_text(wire, "host"),
            started_at=_number(wire, "started_at"),
            detail=_text(wire, "detail"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """What runs at a site, at `observed_at` (seconds since the epoch, the site's clock)."""

    observed_at: float
    instances: tuple[Instance, ...] = ()

    def to_wire(self) -> JsonObject:
        """Return the result of the `site_status` stub."""
        return {
            "v": PROTOCOL_VERSION,
            "kind": "status",
            "observed_at": self.observed_at,
            "instances": [instance.to_wire() for instance in self.instances],
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = versioned(wire)
        instances = values.get("instances")
        if not isinstance(instances, list):
            raise ContractError("instances is not a list")
        return cls(
            observed_at=_number(values, "observed_at"),
            instances=tuple(Instance.from_wire(item) for item in instances),
        )


SiteReply: TypeAlias = EngineAnswer | SiteFailure | SiteStatus

_REPLIES: dict[str, type[EngineAnswer | SiteFailure | SiteStatus]] = {
    "answer": EngineAnswer,
    "failure": SiteFailure,
    "status": SiteStatus,
}


def read_reply(wire: object) -> SiteReply:
    """Return the value in a stub's result, or raise `ContractError`."""
    kind = versioned(wire).get("kind")
    reply = _REPLIES.get(kind) if isinstance(kind, str) else None
    if reply is None:
        raise ContractError(f"unknown kind of reply {_quoted(kind)}")
    return reply.from_wire(wire)


def versioned(wire: object) -> JsonObject:
    """Return the object in `wire` if it is of this version, or raise `ContractError`."""
    if not isinstance(wire, dict):
        raise ContractError("not a JSON object")
    if wire.get("v") != PROTOCOL_VERSION:
        version = _quoted(wire.get("v"))
        raise UnsupportedProtocol(f"protocol version {version}, not {PROTOCOL_VERSION}")
    return wire


def _text(values: JsonObject, name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise ContractError(f"{name} is not a string")
    _encoded(value, name)
    return value


def _encoded(text: str, name: str) -> bytes:
    """Return the UTF-8 of `text`; JSON can carry halves of characters, which have none."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ContractError(f"{name} holds half a character") from None


def _quoted(value: object) -> str:
    """Return how a value looks, cut: it may be huge, or nested deeper than `repr` can go."""
    return _QUOTER.repr(value)[:QUOTED_LENGTH]


def _number(values: JsonObject, name: str) -> float:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ContractError(f"{name} is not a number")
    # NaN is not less than anything.
    if not abs(value) < NUMBER_LIMIT:
        raise ContractError(f"{name} is not a number within reason")
    return float(value)


def _status(values: JsonObject) -> int:
    if not isinstance(values.get("status"), int):
        raise ContractError("status is not a whole number")
    return int(_number(values, "status"))


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ContractError("headers is not an object")
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise ContractError("a header is not a string")
    for text in (*value, *value.values()):
        _encoded(text, "a header")
        if not text.isprintable():
            raise ContractError("a header holds a line break or another control character")
    return value
