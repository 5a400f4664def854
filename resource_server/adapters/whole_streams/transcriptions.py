"""A transcription as the events of a stream."""

from __future__ import annotations

from collections.abc import Iterator

from resource_server.adapters.whole_streams.events import DONE, Json, data, text


def transcription_events(answer: Json, *, usage: bool) -> Iterator[bytes]:
    """Yield the text, and that it is all; what was used stands beside, where the engine says it."""
    said = text(answer.get("text"))
    yield data({"type": "transcript.text.delta", "delta": said})
    done = {"type": "transcript.text.done", "text": said}
    yield data(done | {name: answer[name] for name in ("usage", "logprobs") if answer.get(name)})
    yield DONE
