"""The engine's own end is the stream's, whatever the engine does with its connection."""

from __future__ import annotations

import asyncio

import pytest

from resource_server.domain import errors
from tests.support.streaming_gateway import streaming_gateway
from tests.support.streams import BackendThatStreams, Chat, named

CHAT = Chat(options={"include_usage": True, "continuous_usage_stats": True}).events()
RESPONSE = named(
    ("response.created", {"response": {}}),
    ("response.completed", {"response": {"usage": {"input_tokens": 9, "output_tokens": 3}}}),
)
MESSAGE = named(
    ("message_start", {"message": {"usage": {"input_tokens": 9, "output_tokens": 0}}}),
    ("message_delta", {"usage": {"output_tokens": 3}}),
    ("message_stop", {}),
)


@pytest.mark.parametrize(
    ("route", "body", "events"),
    [
        ("chat/completions", {}, CHAT),
        ("responses", {"input": "Hi"}, RESPONSE),
        ("messages", {"max_tokens": 3}, MESSAGE),
    ],
)
async def test_an_engine_that_keeps_its_connection_open_keeps_nobody_waiting(route, body, events):
    backend = BackendThatStreams(*events, asyncio.Event())
    async with streaming_gateway(backend) as gateway:
        status, _, read = await gateway.ask(route, **body)
        await asyncio.wait_for(backend.streams[0].closed.wait(), 10)
        line = await gateway.line()
    assert status == 200
    assert read.endswith(events[-1])
    assert (line["status"], line["output_tokens"]) == (200, 3)
    assert "error_code" not in line


async def test_what_breaks_behind_the_end_harms_nobody():
    backend = BackendThatStreams(*CHAT, 0.01, errors.BackendInterrupted())
    async with streaming_gateway(backend) as gateway:
        _, _, read = await gateway.ask()
        line = await gateway.line()
    assert read.endswith(CHAT[-1])
    assert (line["status"], "error_code" in line) == (200, False)
