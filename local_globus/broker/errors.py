"""Faults that the protocol answers by closing a channel or a connection.

Fault                a reply code and a text, sent to the client
├── ChannelFault     closes the channel it happened on
└── ConnectionFault  closes the whole connection
"""

from __future__ import annotations


class Fault(Exception):
    """The client asked for something that it cannot have."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}")


class ChannelFault(Fault):
    """The channel is closed; the connection lives on."""


class ConnectionFault(Fault):
    """The connection is closed."""


def not_found(kind: str, name: str) -> ChannelFault:
    """Return the fault for a queue or an exchange that does not exist."""
    return ChannelFault(404, f"NOT_FOUND - no {kind} '{name}'")


def refused(what: str) -> ChannelFault:
    """Return the fault for something that a user may not do."""
    return ChannelFault(403, f"ACCESS_REFUSED - {what}")
