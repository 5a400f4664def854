"""A text completion as the chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterator

from resource_server.adapters.whole_streams.events import DONE, Json, data, items


def completion_events(answer: Json, *, usage: bool) -> Iterator[bytes]:
    """Yield each choice, whose chunks look as whole choices do; then what was used."""
    base = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    for choice in items(answer.get("choices")):
        yield data(base | {"choices": [choice]})
    if usage and answer.get("usage") is not None:
        yield data(base | {"choices": [], "usage": answer["usage"]})
    yield DONE
