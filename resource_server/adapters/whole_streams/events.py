"""Server-sent events as engines write them."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]

DONE = b"data: [DONE]\n\n"
EVENTS = "text/event-stream; charset=utf-8"


def data(value: Json) -> bytes:
    """Return an event without a name, as OpenAI's older routes have them."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def named(value: Json) -> bytes:
    """Return an event with its type as its name, as Responses and Messages have them."""
    return f"event: {value['type']}\n".encode() + data(value)


def items(value: object) -> list[Json]:
    """Return the objects in a list of an answer; what is none of these is passed over."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a text of an answer; nothing if it is none."""
    return value if isinstance(value, str) else ""
