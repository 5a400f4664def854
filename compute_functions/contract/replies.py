"""What a stub's result holds: one of four values, told apart by its `kind`."""

from __future__ import annotations

from typing import TypeAlias

from compute_functions.contract import fields
from compute_functions.contract.answers import EngineAnswer
from compute_functions.contract.errors import ContractError
from compute_functions.contract.failures import SiteFailure
from compute_functions.contract.instances import SiteStatus
from compute_functions.contract.pushes import PushedAnswer

SiteReply: TypeAlias = EngineAnswer | PushedAnswer | SiteFailure | SiteStatus

_REPLIES: dict[str, type[SiteReply]] = {
    "answer": EngineAnswer,
    "failure": SiteFailure,
    "pushed": PushedAnswer,
    "status": SiteStatus,
}


def read_reply(wire: object) -> SiteReply:
    """Return the value in a stub's result, or raise `ContractError`."""
    kind = fields.versioned(wire).get("kind")
    reply = _REPLIES.get(kind) if isinstance(kind, str) else None
    if reply is None:
        raise ContractError(f"unknown kind of reply {fields.quoted(kind)}")
    return reply.from_wire(wire)
