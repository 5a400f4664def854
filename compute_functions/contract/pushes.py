"""How a site's function pushes an engine's answer to a hub, in one POST, while it comes.

The POST's body is frames of one stream, as on a relay's link: HEAD once, then DATA, and at last END
or ERROR. A body without one of these two was cut. A DATA frame without bytes says that the site is
still there. The hub answers 204 when it has the end, and 401 or 410 as soon as it does not want
the answer, or no more of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject
from compute_functions.contract.frames import (
    HEADER_BYTES,
    MAX_MESSAGE,
    Frame,
    decoded,
    payload_length,
)

#: Where a hub takes answers: below this, by the stream's name.
STREAMS_PATH = "/relay/v1/streams"
CONTENT_TYPE = "application/vnd.hotnode.frames"
#: The number of the one stream of a POST.
STREAM = 1
#: A site that has nothing to send says at least so often that it is still there (seconds).
ALIVE_EVERY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Where to push an answer, and the secret that opens this one stream, once.

    Between two parts of an event stream the engine may be silent for `silence_s` seconds.
    """

    url: str
    secret: str = field(repr=False)
    silence_s: float

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {"url": self.url, "secret": self.secret, "silence_s": self.silence_s}

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        if not isinstance(wire, dict):
            raise ContractError("push is not an object")
        return cls(
            url=fields.text(wire, "url"),
            secret=fields.text(wire, "secret"),
            silence_s=fields.number(wire, "silence_s"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedAnswer:
    """The result of a task whose answer was pushed, whole, with `length` bytes of body.

    The times are those of `EngineAnswer`.
    """

    length: int
    engine_s: float = 0.0
    site_s: float = 0.0

    def to_wire(self) -> JsonObject:
        """Return the result of the `run_request` stub."""
        return {
            "v": PROTOCOL_VERSION,
            "kind": "pushed",
            "length": self.length,
            "engine_s": self.engine_s,
            "site_s": self.site_s,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        return cls(
            length=fields.whole_number(values, "length"),
            engine_s=fields.number(values, "engine_s"),
            site_s=fields.number(values, "site_s"),
        )


class FrameReader:
    """Puts frames together again that a connection has cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Return the frames that are whole now; raises `ContractError` at what is none."""
        waiting = self._rest + data if self._rest else data
        whole = _whole(waiting)
        self._rest = waiting[whole:]
        return decoded(waiting[:whole])


def _whole(data: bytes) -> int:
    """Return how many bytes at the beginning are whole frames."""
    at = 0
    while len(data) - at >= HEADER_BYTES:
        length = payload_length(data, at)
        if length > MAX_MESSAGE:
            raise ContractError(f"a frame of {length} bytes")
        if len(data) - at < HEADER_BYTES + length:
            break
        at += HEADER_BYTES + length
    return at
