"""What a site's agent and a hub say to each other on the site link: JSON objects, one a message.

The agent dials `GET /relay/v1/site` with the subprotocol `hotnode-site.v1` and a credential or a
session, as a relay does (docs/developers/relay-protocol.md); its credential says `role: site`. Each
message names its `kind`. Kinds that are not known are passed over, so that either side may add some
without a new version.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, TypeAlias

from compute_functions.contract import fields
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import JsonObject
from compute_functions.contract.instances import SiteStatus
from compute_functions.contract.lifecycle import Demand, DesiredState
from compute_functions.contract.site_calls import CallAnswer, Offer, SiteCall

PATH = "/relay/v1/site"
SUBPROTOCOL = "hotnode-site.v1"
#: The claim `role` of a site's credential, and what tells its sessions from those of relays.
ROLE = "site"
#: The longest message (bytes): a site with thousands of instances. A piece of a batch's file takes
#: a third of it.
MOST_MESSAGE = 4 * 1024 * 1024
#: Each side speaks at least so often, and takes a silence of three such times for an end (seconds).
HEARTBEAT_S = 5.0
SILENT_AFTER_S = 3 * HEARTBEAT_S


class MessageKind(StrEnum):
    """What a message is."""

    #: Hub to agent, the first message: the link is taken.
    ACCEPT = "accept"
    #: Hub to agent: a new session, before the old one ends.
    RENEW = "renew"
    #: Hub to agent: what is desired.
    DESIRED = "desired"
    #: Hub to agent: who wants it.
    DEMAND = "demand"
    #: Agent to hub: what there is.
    OBSERVED = "observed"
    #: Agent to hub, right after ACCEPT: which functions may be called.
    OFFER = "offer"
    #: Hub to agent: the call of one of them.
    CALL = "call"
    #: Agent to hub: what it gave.
    ANSWER = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """ACCEPT and RENEW: the hub's name, and a session that opens links for `session_s` seconds."""

    hub: str
    session: str
    session_s: float

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {"hub": self.hub, "session": self.session, "session_s": self.session_s}

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "an acceptance")
        return cls(
            hub=fields.text(values, "hub"),
            session=fields.text(values, "session"),
            session_s=fields.duration(values, "session_s"),
        )


Said: TypeAlias = Accepted | DesiredState | Demand | SiteStatus | Offer | SiteCall | CallAnswer

_READERS: dict[MessageKind, Callable[[object], Said]] = {
    MessageKind.ACCEPT: Accepted.from_wire,
    MessageKind.RENEW: Accepted.from_wire,
    MessageKind.DESIRED: DesiredState.from_wire,
    MessageKind.DEMAND: Demand.from_wire,
    MessageKind.OBSERVED: SiteStatus.from_wire,
    MessageKind.OFFER: Offer.from_wire,
    MessageKind.CALL: SiteCall.from_wire,
    MessageKind.ANSWER: CallAnswer.from_wire,
}


def message(kind: MessageKind, said: Said) -> str:
    """Return a message's text."""
    return json.dumps({"kind": kind.value, "body": said.to_wire()}, separators=(",", ":"))


def read(text: str) -> tuple[MessageKind, Said] | None:
    """Return a message; None if it is of a kind that is not known. Raises `ContractError`."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ContractError("a message is not JSON") from None
    values = fields.json_object(values, "a message")
    name = fields.text(values, "kind")
    if name not in _READERS:
        return None
    kind = MessageKind(name)
    return kind, _READERS[kind](values.get("body"))
