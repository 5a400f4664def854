from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from resource_server.domain import errors
from tests.support.streaming_gateway import MODEL, Streaming, streaming_gateway
from tests.support.streams import DONE, BackendThatStreams, Chat, named

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Where?"}]


def client_of(gateway: Streaming) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="alice", max_retries=0)


def chat() -> BackendThatStreams:
    backend = BackendThatStreams()
    backend.script = lambda request: Chat.asked(request).events()
    return backend


@pytest.mark.row("U-13", "A-35")
async def test_chunks_have_their_choices():
    async with streaming_gateway(chat()) as gateway, client_of(gateway) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Paris."
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.row("U-15")
async def test_who_asks_for_usage_gets_it_in_a_chunk_of_its_own():
    async with streaming_gateway(chat()) as gateway, client_of(gateway) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        *chunks, last = [chunk async for chunk in stream]
    assert (last.choices, last.usage.completion_tokens) == ([], 3)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_tool_calls_come_in_pieces():
    def delta(**call: object) -> bytes:
        choice = {"index": 0, "delta": {"tool_calls": [{"index": 0} | call]}}
        data = {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}
        usage = {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        return f"data: {json.dumps(data | usage, separators=(',', ':'))}\n\n".encode()

    backend = BackendThatStreams(
        delta(id="call_1", type="function", function={"name": "get_weather", "arguments": ""}),
        delta(function={"arguments": '{"city":'}),
        delta(function={"arguments": '"Paris"}'}),
        DONE,
    )
    async with streaming_gateway(backend) as gateway, client_of(gateway) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        chunks: list[Any] = [chunk async for chunk in stream]
    calls = [chunk.choices[0].delta.tool_calls[0] for chunk in chunks]
    assert calls[0].function.name == "get_weather"
    assert "".join(call.function.arguments for call in calls) == '{"city":"Paris"}'


async def test_responses_stream():
    response: dict[str, Any] = {"id": "resp_1", "object": "response", "output": [], "usage": None}
    backend = BackendThatStreams(
        *named(
            ("response.created", {"sequence_number": 0, "response": response}),
            ("response.output_text.delta", {"sequence_number": 1, "delta": "Paris."}),
            ("response.completed", {"sequence_number": 2, "response": response}),
        )
    )
    async with streaming_gateway(backend) as gateway, client_of(gateway) as client:
        stream = await client.responses.create(model=MODEL, input="Where?", stream=True)
        events = [event async for event in stream]
    assert [event.type for event in events] == [
        "response.created",
        "response.output_text.delta",
        "response.completed",
    ]


@pytest.mark.parametrize("route", ["chat", "responses"])
async def test_a_stream_that_breaks_off_raises_an_error_with_its_code(route):
    if route == "chat":
        first = Chat().events()[0]
    else:
        [first] = named(("response.created", {"sequence_number": 0, "response": {}}))
    backend = BackendThatStreams(first, errors.BackendInterrupted())
    async with streaming_gateway(backend) as gateway, client_of(gateway) as client:
        stream: openai.AsyncStream[Any]
        if route == "chat":
            stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        else:
            stream = await client.responses.create(model=MODEL, input="Where?", stream=True)
        assert await anext(stream)
        with pytest.raises(openai.APIError) as broken:
            await anext(stream)
    assert broken.value.code == "backend_interrupted"


async def test_an_early_failure_is_an_ordinary_error():
    backend = BackendThatStreams(errors.BackendTimeout())
    async with streaming_gateway(backend) as gateway, client_of(gateway) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    assert (failed.value.status_code, failed.value.code) == (504, "backend_timeout")


async def test_who_closes_the_stream_stops_the_engine():
    backend = BackendThatStreams(Chat().events()[0], asyncio.Event())
    async with streaming_gateway(backend) as gateway, client_of(gateway) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        assert await anext(stream)
        await stream.close()
        await asyncio.wait_for(backend.streams[0].closed.wait(), 5)
