"""A response of the Responses API as the events of a stream."""

from __future__ import annotations

from collections.abc import Iterator

from resource_server.adapters.whole_streams.events import Json, items, named, text

#: How a stream ends, by what came of the response.
_LAST = {"failed": "response.failed", "incomplete": "response.incomplete"}
#: Kinds of parts whose text comes as deltas: the events' name, and the field with the text.
_PARTS = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "reasoning_text": ("response.reasoning_text", "text"),
}


def response_events(answer: Json, *, usage: bool) -> Iterator[bytes]:
    """Yield every event of the response, numbered.

    These streams say what was used whether or not it is asked for.
    """
    for number, event in enumerate(_events(answer)):
        yield named(event | {"sequence_number": number})


def _events(answer: Json) -> Iterator[Json]:
    begin = answer | {"status": "in_progress", "output": [], "usage": None}
    for name in ("response.created", "response.in_progress"):
        yield {"type": name, "response": begin | {"incomplete_details": None, "error": None}}
    for index, item in enumerate(items(answer.get("output"))):
        for event in _item_events(item):
            yield event | {"output_index": index}
    last = _LAST.get(text(answer.get("status")), "response.completed")
    yield {"type": last, "response": answer}


def _item_events(item: Json) -> Iterator[Json]:
    yield {"type": "response.output_item.added", "item": _empty(item)}
    about = {"item_id": text(item.get("id"))}
    match item.get("type"):
        case "function_call":
            arguments = text(item.get("arguments"))
            name = "response.function_call_arguments"
            yield {"type": f"{name}.delta", "delta": arguments, **about}
            called = {"name": text(item.get("name")), **about}
            yield {"type": f"{name}.done", "arguments": arguments, **called}
        case "message" | "reasoning":
            yield from (event | about for event in _summary_events(item))
            for index, part in enumerate(items(item.get("content"))):
                yield from (
                    event | about | {"content_index": index} for event in _part_events(part)
                )
    yield {"type": "response.output_item.done", "item": item}


def _empty(item: Json) -> Json:
    """Return an item as it is before anything of it has come."""
    nothing: Json = {"content": [], "summary": [], "arguments": "", "status": "in_progress"}
    return item | {
        name: value for name, value in nothing.items() if isinstance(item.get(name), type(value))
    }


def _part_events(part: Json) -> Iterator[Json]:
    known = _PARTS.get(text(part.get("type")))
    empty = part if known is None else part | {known[1]: ""} | _without_extras(part)
    yield {"type": "response.content_part.added", "part": empty}
    if known is not None:
        name, field = known
        said = text(part.get(field))
        # The text's own events have the probabilities beside it; the others have no such field.
        beside = {"logprobs": items(part.get("logprobs"))} if field == "text" else {}
        yield {"type": f"{name}.delta", "delta": said, **beside}
        for index, note in enumerate(items(part.get("annotations"))):
            added = {"annotation_index": index, "annotation": note}
            yield {"type": "response.output_text.annotation.added", **added}
        yield {"type": f"{name}.done", field: said, **beside}
    yield {"type": "response.content_part.done", "part": part}


def _without_extras(part: Json) -> Json:
    return {name: [] for name in ("annotations", "logprobs") if isinstance(part.get(name), list)}


def _summary_events(item: Json) -> Iterator[Json]:
    for index, part in enumerate(items(item.get("summary"))):
        about, said = {"summary_index": index}, text(part.get("text"))
        name = "response.reasoning_summary"
        yield {"type": f"{name}_part.added", "part": part | {"text": ""}, **about}
        yield {"type": f"{name}_text.delta", "delta": said, **about}
        yield {"type": f"{name}_text.done", "text": said, **about}
        yield {"type": f"{name}_part.done", "part": part, **about}
