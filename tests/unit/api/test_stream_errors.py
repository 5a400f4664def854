from __future__ import annotations

import json
from typing import Any

from resource_server.api.stream_errors import error_event
from resource_server.domain import errors
from resource_server.domain.dialects import Dialect

ERROR = errors.BackendInterrupted()


def data(event: bytes) -> dict[str, Any]:
    assert event.endswith(b"\n\n")
    line = event.strip().split(b"\n")[-1]
    read: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    return read


def test_chunks_end_in_data_alone():
    event = error_event(ERROR, Dialect.CHUNKS, path="/v1/chat/completions", number=3)
    assert event.startswith(b"data: ")
    assert data(event)["error"] == {
        "message": ERROR.message,
        "type": "service_unavailable_error",
        "param": None,
        "code": "backend_interrupted",
    }


def test_responses_end_in_a_numbered_event():
    event = error_event(ERROR, Dialect.RESPONSES, path="/v1/responses", number=3)
    assert event.startswith(b"event: error\ndata: ")
    said = data(event)
    assert (said["type"], said["sequence_number"]) == ("error", 3)
    assert (said["code"], said["message"]) == ("backend_interrupted", ERROR.message)


def test_messages_end_in_anthropic_s_words():
    event = error_event(ERROR, Dialect.MESSAGES, path="/v1/messages", number=3)
    assert event.startswith(b"event: error\ndata: ")
    assert data(event)["error"]["type"] == "overloaded_error"
