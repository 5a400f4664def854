"""What the gateway asks of an engine at a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject
from compute_functions.contract.packing import pack, unpack
from compute_functions.contract.pushes import Push


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """One OpenAI request for an engine: names and bounded numbers, never a command or an address.

    `path` is `/v1/` and the route, as `/v1/chat/completions`; each engine's file says where the
    engine has it. `body` is of the type that the header `content-type` names, JSON without one;
    a multipart form keeps its boundary there. `timeout_s` is what is left of
    the caller's patience when the request leaves the gateway. After `expires_at` (seconds since
    the epoch, the gateway's clock; None: never) nobody waits any more: an endpoint that was away
    drops what it then finds in its queue. With `push` the answer is pushed while it comes;
    otherwise it is the task's result.
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
    push: Push | None = None

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
            "push": None if self.push is None else self.push.to_wire(),
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        expires, push = values.get("expires_at"), values.get("push")
        return cls(
            request_id=fields.text(values, "request_id"),
            framework=fields.text(values, "framework"),
            model=fields.text(values, "model"),
            method=fields.text(values, "method"),
            path=fields.text(values, "path"),
            headers=fields.headers(values, "headers"),
            body=unpack(values.get("body")),
            timeout_s=fields.number(values, "timeout_s"),
            expires_at=None if expires is None else fields.number(values, "expires_at"),
            push=None if push is None else Push.from_wire(push),
        )
