"""What an engine's answer says about the tokens it used, in whichever dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from resource_server.domain.inference import InferenceAnswer, Usage

#: No answer costs more; what is beyond has no meaning, and must not go into anybody's account.
MOST = 10**10


class _Answer(msgspec.Struct):
    usage: Any = None


class _Event(msgspec.Struct):
    """An event of a stream: itself a part of an answer, or with all of one in it."""

    usage: Any = None
    response: Any = None
    message: Any = None


_decoder = msgspec.json.Decoder(_Answer)
_event_decoder = msgspec.json.Decoder(_Event)


def read_usage(answer: InferenceAnswer) -> Usage | None:
    """Return what the answer cost, or None if it does not say."""
    if not answer.content_type.startswith("application/json"):
        return None
    try:
        said = _decoder.decode(answer.body).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The caller gets what the engine said, whatever it is; only its price is not known.
        return None
    return _usage(said) if isinstance(said, dict) else None


def read_event_usage(data: bytes) -> Usage | None:
    """Return what an event's data says of the cost so far, or None if it does not say."""
    try:
        event = _event_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # As above: the caller has the event as it is.
        return None
    for part in (event, event.response, event.message):
        said = part.get("usage") if isinstance(part, dict) else getattr(part, "usage", None)
        if isinstance(said, dict):
            return _usage(said)
    return None


def _usage(said: Mapping[str, Any]) -> Usage | None:
    """Return the numbers under whichever names: OpenAI's old ones, Responses', Messages'."""
    total = _count(said, "total_tokens")
    input_tokens = _input_tokens(said)
    output_tokens = _count(said, "completion_tokens", "output_tokens")
    if total is None and input_tokens is None and output_tokens is None:
        return None
    made = output_tokens or 0
    return Usage(
        input_tokens=input_tokens or max(0, (total or 0) - made),
        output_tokens=made,
        cached_tokens=_cached_tokens(said),
        reasoning_tokens=_detail(
            said, "reasoning_tokens", "completion_tokens_details", "output_tokens_details"
        ),
    )


def _input_tokens(said: Mapping[str, Any]) -> int | None:
    """Return all of the input, also where the dialect counts what was cached beside it.

    OpenAI's numbers contain it, and say how much in details. Anthropic's `input_tokens` is the
    rest: what is neither read from the cache nor written to it.
    """
    prompt = _count(said, "prompt_tokens")
    if prompt:
        return prompt
    rest = _count(said, "input_tokens")
    beside = [_count(said, f"cache_{done}_input_tokens") for done in ("read", "creation")]
    if rest is None and not any(beside):
        return prompt
    return (rest or 0) + sum(count or 0 for count in beside)


def _cached_tokens(said: Mapping[str, Any]) -> int:
    detail = _detail(said, "cached_tokens", "prompt_tokens_details", "input_tokens_details")
    return detail or _count(said, "cache_read_input_tokens") or 0


def _detail(said: Mapping[str, Any], name: str, *groups: str) -> int:
    """Return a number from the first of these groups that has it, else zero."""
    for group in groups:
        found = said.get(group)
        if isinstance(found, dict) and (count := _count(found, name)):
            return count
    return 0


def _count(said: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of these numbers that has a meaning and is not zero, else zero or None."""
    found: int | None = None
    for name in names:
        value = said.get(name)
        # A bool is no count, though Python takes it for a number.
        if type(value) is int and 0 <= value <= MOST:
            if value:
                return value
            found = 0
    return found
