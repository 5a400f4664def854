"""What an engine's answer says about the tokens it used, in whichever dialect."""

from __future__ import annotations

from typing import Annotated

import msgspec

from resource_server.domain.inference import InferenceAnswer, Usage

#: No answer costs more; what is beyond has no meaning, and must not go into anybody's account.
Count = Annotated[int, msgspec.Meta(ge=0, le=10**10)]


class _Details(msgspec.Struct):
    """What the tokens were, as chat completions and responses say it."""

    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct):
    """The numbers under all names: OpenAI's old ones, and those of Responses and Messages."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


_decoder = msgspec.json.Decoder(_Answer)


def read_usage(answer: InferenceAnswer) -> Usage | None:
    """Return what the answer cost, or None if it does not say."""
    if not answer.content_type.startswith("application/json"):
        return None
    try:
        said = _decoder.decode(answer.body).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The caller gets what the engine said, whatever it is; only its price is not known.
        return None
    return _usage(said) if said else None


def _usage(said: _Usage) -> Usage:
    total = said.total_tokens or 0
    input_tokens = said.prompt_tokens or said.input_tokens or 0
    output_tokens = said.completion_tokens or said.output_tokens or 0
    taken = said.prompt_tokens_details or said.input_tokens_details
    made = said.completion_tokens_details or said.output_tokens_details
    return Usage(
        input_tokens=input_tokens or max(0, total - output_tokens),
        output_tokens=output_tokens,
        cached_tokens=(taken and taken.cached_tokens) or said.cache_read_input_tokens or 0,
        reasoning_tokens=(made and made.reasoning_tokens) or 0,
    )
