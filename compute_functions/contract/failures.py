"""Why a site got no answer from an engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject


class FailureCode(StrEnum):
    """Why a site could not answer; an engine's own errors are answers, not failures."""

    #: No instance is ready, or none that this program can reach: no engine was asked.
    MODEL_NOT_RUNNING = "model_not_running"
    #: No connection to the engine: nothing was sent to it.
    ENGINE_UNREACHABLE = "engine_unreachable"
    ENGINE_TIMEOUT = "engine_timeout"
    RESPONSE_TOO_LARGE = "response_too_large"
    PATH_NOT_ALLOWED = "path_not_allowed"
    INVALID_REQUEST = "invalid_request"
    EXPIRED = "expired"
    UNSUPPORTED_PROTOCOL = "unsupported_protocol"
    #: The engine was asked, and gave no whole answer; the request may have run.
    ENGINE_BROKE_OFF = "engine_broke_off"
    #: The site has no room for the request now; the engine was not asked.
    BUSY = "busy"
    #: The site's own program failed within the request, which may have run.
    SITE_FAILED = "site_failed"
    #: The instance stops; another one may serve the request.
    DRAINING = "draining"
    #: A request of this id runs already, or has run lately.
    DUPLICATE = "duplicate"
    #: The site cannot reach the hub that wants the answer; the engine was not asked.
    HUB_UNREACHABLE = "hub_unreachable"
    #: The site has not enrolled with the hub that wants the answer; the engine was not asked.
    HUB_NOT_ALLOWED = "hub_not_allowed"
    #: The hub does not want the answer, or no more of it: nobody waits.
    CALLER_LEFT = "caller_left"
    #: The site's operators must act: HOTNODE_SITE_DIR is not set, or a file is missing.
    SITE_MISCONFIGURED = "site_misconfigured"
    #: The site does not take this batch, or this piece of it; asking again helps nothing. Only
    #: `run_batch` and `batch_file` say this and the next: no reader of requests meets them.
    BATCH_REFUSED = "batch_refused"
    #: The site has no batch of this id, or has it no more.
    BATCH_UNKNOWN = "batch_unknown"


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
        values = fields.versioned(wire)
        return cls(code=failure_code(values), message=fields.text(values, "message"))


def failure_code(values: JsonObject) -> FailureCode:
    """Return the field `code`, or raise `ContractError` for one that is not known."""
    try:
        return FailureCode(fields.text(values, "code"))
    except ValueError:
        # Not as a cause: its text repeats the value uncut.
        unknown = fields.quoted(values.get("code"))
        raise ContractError(f"unknown failure code {unknown}") from None
