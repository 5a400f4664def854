"""Errors within a stream that has begun: as the last event, in the words of its route.

Clients take it for what it is: the openai SDK raises `APIError`, Anthropic's `APIStatusError`.
Nothing comes after it, `[DONE]` least of all.
"""

from __future__ import annotations

import msgspec

from resource_server.api.errors import error_response
from resource_server.domain import errors
from resource_server.domain.dialects import Dialect


def error_event(error: errors.HotnodeError, dialect: Dialect, *, path: str, number: int) -> bytes:
    """Return an error as an event; `number` is how many came before it."""
    envelope = error_response(error, path).content
    if dialect is Dialect.CHUNKS:
        return b"data: %b\n\n" % envelope
    if dialect is Dialect.RESPONSES:
        envelope = _of_responses(envelope, number)
    return b"event: error\ndata: %b\n\n" % envelope


def _of_responses(envelope: bytes, number: int) -> bytes:
    """Return the error as OpenAI's event of this name has it, and as its SDKs look for it."""
    error = msgspec.json.decode(envelope)["error"]
    event = {
        "type": "error",
        "code": error["code"],
        "message": error["message"],
        "param": error["param"],
        "sequence_number": number,
        "error": error,
    }
    return msgspec.json.encode(event)
