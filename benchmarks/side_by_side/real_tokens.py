"""The tokens of a real engine, counted by their log-probabilities and held against its usage."""

from __future__ import annotations

import json
from typing import Any

from side_by_side.tokens import Received

_DATA = b"data: {"


def take(received: Received, events: bytes) -> None:
    """Note the tokens in whole events; the last chunk says how many there should be."""
    for event in events.split(b"\n\n"):
        if not event.startswith(_DATA):
            continue
        chunk: dict[str, Any] = json.loads(event[len(_DATA) - 1 :])
        if usage := chunk.get("usage"):
            received.expected = usage["completion_tokens"]
        for choice in chunk.get("choices", ()):
            tokens = (choice.get("logprobs") or {}).get("content") or ()
            first = len(received.numbers)
            received.numbers.extend(range(first, first + len(tokens)))
