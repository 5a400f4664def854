"""An Anthropic message as the events of a stream."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from resource_server.adapters.whole_streams.events import Json, items, named, text


def message_events(answer: Json, *, usage: bool) -> Iterator[bytes]:
    """Yield the message without its content, each block of that, and why it ended.

    These streams say what was used whether or not it is asked for.
    """
    used = answer.get("usage")
    used = used if isinstance(used, dict) else {}
    begin = answer | {"content": [], "stop_reason": None, "stop_sequence": None}
    yield named(
        {"type": "message_start", "message": begin | {"usage": used | {"output_tokens": 0}}}
    )
    for index, block in enumerate(items(answer.get("content"))):
        empty, deltas = _block(block)
        yield named({"type": "content_block_start", "index": index, "content_block": empty})
        for delta in deltas:
            yield named({"type": "content_block_delta", "index": index, "delta": delta})
        yield named({"type": "content_block_stop", "index": index})
    end = {name: answer.get(name) for name in ("stop_reason", "stop_sequence")}
    yield named({"type": "message_delta", "delta": end, "usage": {"output_tokens": 0} | used})
    yield named({"type": "message_stop"})


def _block(block: Json) -> tuple[Json, list[Json]]:
    """Return how a block begins, and what comes then; kinds that we do not know come at once."""
    match block.get("type"):
        case "text":
            cited = [
                {"type": "citations_delta", "citation": c} for c in items(block.get("citations"))
            ]
            said = {"type": "text_delta", "text": text(block.get("text"))}
            return block | {"text": "", "citations": None}, [*cited, said]
        case "thinking":
            thought = {"type": "thinking_delta", "thinking": text(block.get("thinking"))}
            signed = {"type": "signature_delta", "signature": text(block.get("signature"))}
            return block | {"thinking": "", "signature": ""}, [thought, signed]
        case "tool_use" | "server_tool_use":
            arguments = msgspec.json.encode(block.get("input") or {}).decode()
            return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": arguments}]
        case _:
            return block, []
