"""The mock engine: what it streams is what the benchmarks count, in the shape of vLLM's chunks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio
from side_by_side.engine import Connection, Pace
from side_by_side.tokens import SEEN_TOKEN


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    pace = Pace(lockstep=False)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(pace), "127.0.0.1", 0
    )
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions"


async def ask(url: str, **fields: Any) -> bytes:
    asked = {"model": "model", "messages": [{"role": "user", "content": "stream 7."}], **fields}
    async with aiohttp.ClientSession() as session, session.post(url, json=asked) as answer:
        return await answer.read()


def chunks(body: bytes) -> list[dict[str, Any]]:
    *events, done, end = body.split(b"\n\n")
    assert (done, end) == (b"data: [DONE]", b"")
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


async def test_each_token_says_whose_it_is_and_its_number(url: str) -> None:
    body = await ask(url, stream=True, max_tokens=3)
    seen = [(int(tag), int(number)) for tag, number, _ in SEEN_TOKEN.findall(body)]
    assert seen == [(7, 0), (7, 1), (7, 2)]
    assert not any("usage" in chunk for chunk in chunks(body))


async def test_usage_is_said_as_it_is_asked_for(url: str) -> None:
    final = {"include_usage": True}
    body = await ask(url, stream=True, max_tokens=2, stream_options=final)
    *others, last = chunks(body)
    assert last["usage"]["completion_tokens"] == 2
    assert not any("usage" in chunk for chunk in others)
    always = final | {"continuous_usage_stats": True}
    body = await ask(url, stream=True, max_tokens=2, stream_options=always)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks(body)] == [0, 1, 2, 2, 2]


async def test_without_stream_it_answers_in_one_piece(url: str) -> None:
    answer = json.loads(await ask(url))
    assert answer["choices"][0]["finish_reason"] == "stop"
