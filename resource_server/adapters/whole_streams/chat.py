"""A chat completion as the chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterator

from resource_server.adapters.whole_streams.events import DONE, Json, data, items

#: What a chunk does not have, or has as its own.
_NOT_IN_CHUNKS = frozenset({"choices", "object", "usage"})


def chat_events(answer: Json, *, usage: bool) -> Iterator[bytes]:
    """Yield for each choice its role, its message and why it ended; then what was used."""
    base = {name: value for name, value in answer.items() if name not in _NOT_IN_CHUNKS}
    base["object"] = "chat.completion.chunk"
    choices = items(answer.get("choices"))
    for choice in choices:
        role = _message(choice).get("role", "assistant")
        yield data(base | {"choices": [_chunk(choice, {"role": role, "content": ""})]})
    for choice in choices:
        said = _chunk(choice, _delta(_message(choice)))
        if choice.get("logprobs") is not None:
            said["logprobs"] = choice["logprobs"]
        yield data(base | {"choices": [said]})
    for choice in choices:
        yield data(base | {"choices": [_last(choice)]})
    if usage and answer.get("usage") is not None:
        yield data(base | {"choices": [], "usage": answer["usage"]})
    yield DONE


def _message(choice: Json) -> Json:
    message = choice.get("message")
    return message if isinstance(message, dict) else {}


def _chunk(choice: Json, delta: Json) -> Json:
    return {"index": choice.get("index", 0), "delta": delta, "finish_reason": None}


def _delta(message: Json) -> Json:
    """Return all that the message says; calls of tools are numbered in streams."""
    delta = {
        name: value
        for name, value in message.items()
        if name not in ("role", "tool_calls") and value is not None
    }
    calls = items(message.get("tool_calls"))
    if calls:
        delta["tool_calls"] = [{"index": n, **call} for n, call in enumerate(calls)]
    return delta


def _last(choice: Json) -> Json:
    rest = {name: v for name, v in choice.items() if name not in ("message", "logprobs")}
    return rest | {"index": choice.get("index", 0), "delta": {}}
