"""What an engine said to a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject
from compute_functions.contract.packing import pack, unpack


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
        values = fields.versioned(wire)
        return cls(
            status=fields.whole_number(values, "status"),
            headers=fields.headers(values, "headers"),
            body=unpack(values.get("body")),
            engine_s=fields.number(values, "engine_s"),
            site_s=fields.number(values, "site_s"),
        )
