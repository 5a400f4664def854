"""A transcription or translation as the chunks of a stream, as vLLM sends them.

OpenAI's own service streams other events. A model's stream must be the same whichever way it comes,
and by all others the engine's chunks pass as they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from resource_server.adapters.whole_streams.events import DONE, Json, data, text


def transcription_events(answer: Json, *, usage: bool) -> Iterator[bytes]:
    """Yield the text, why it ended, and what was used; `speech_answer` made the answer."""
    base = {name: answer[name] for name in ("id", "object", "created", "model")}
    yield data(base | {"choices": [{"delta": {"content": text(answer.get("text"))}}]})
    last = {"delta": {"content": ""}, "finish_reason": "stop", "stop_reason": None}
    yield data(base | {"choices": [last]})
    if usage and answer.get("usage") is not None:
        yield data(base | {"choices": [], "usage": answer["usage"]})
    yield DONE


def speech_answer(said: Json, *, request_id: str, model: str, task: str) -> Json:
    """Return what an engine wrote down with what its chunks would say beside it."""
    return said | {
        "id": f"trsc-{request_id}",
        "object": f"{task}.chunk",
        "created": int(time.time()),
        "model": model,
    }
