"""Anthropic's SDK makes of a stream the same message that it makes of the answer in one piece."""

from __future__ import annotations

import json

import pytest

from tests.support.client_runs import SCRIPTS, installed, known_clients, run

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "thinking", "thinking": "because", "signature": "s"},
        {"type": "text", "text": "Grüße 🚀"},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}},
        {"type": "tool_use", "id": "t2", "name": "time", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 1},
}


@pytest.mark.timeout(120)
async def test_a_message_is_the_same(finished, tmp_path):
    clients = known_clients()["anthropic"].clients
    assert clients is not None
    script = str(SCRIPTS / "clients" / "anthropic_streamed.py")
    finished.answer = MESSAGE
    said = json.loads(
        await run([str(installed(clients).program), script, finished.url], home=tmp_path)
    )
    assert said["streamed"] == said["whole"]
    assert said["text"] == "Grüße 🚀"
