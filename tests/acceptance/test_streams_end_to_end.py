"""Streams of a real vLLM by each way: the relay, a task that pushes, and a task that cannot push.

The gateway, the Globus Compute agent, the launcher with its relay and the engine are processes of
their own, as they are at a centre and at a cluster.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

import aiohttp
import openai
import pytest

from lab.gateway import BY_TASKS, CLUSTER
from lab.streaming import ENDING, stream
from tests.support.engine import MODEL, RunningEngine
from tests.support.eventually import eventually, eventually_so
from tests.support.running_service import ALICE, NO_EGRESS, Running

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

STORY = [{"role": "user", "content": "Tell me a story."}]
#: As many as the model's context holds, some seconds of work.
ENDLESS: dict[str, Any] = {"max_tokens": 1900, "extra_body": {"ignore_eos": True}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A cluster of the catalog, and what answers say of how they came from there."""

    cluster: str
    transport: str
    pieces: bool

    def __str__(self) -> str:
        return self.cluster


BY_RELAY = Way(cluster=CLUSTER, transport="relay", pieces=True)
PUSHED = Way(cluster=BY_TASKS, transport="task", pieces=True)
WHOLE = Way(cluster=NO_EGRESS, transport="task", pieces=False)


@pytest.fixture(params=[BY_RELAY, PUSHED, WHOLE], ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


async def asked(client: openai.AsyncOpenAI, **more: Any) -> Any:
    """Return the response to a chat about a story, with its headers."""
    body: dict[str, Any] = {"model": MODEL, "messages": STORY, "temperature": 0} | more
    return await client.chat.completions.with_raw_response.create(**body)


@pytest.mark.row("A-35", "U-13", "C-63")
async def test_a_stream_is_the_whole_answer_by_each_way(running: Running, way: Way) -> None:
    async with running.openai(cluster=way.cluster) as client:
        whole = await asked(client)
        streamed = await asked(client, stream=True)
        chunks = [chunk async for chunk in streamed.parse()]
    pieces = [text for chunk in chunks if (text := chunk.choices[0].delta.content)]
    assert "".join(pieces) == whole.parse().choices[0].message.content
    assert pieces[-1].endswith(ENDING) or ENDING.endswith(pieces[-1])
    assert (len(pieces) > 10) is way.pieces
    assert chunks[-1].choices[0].finish_reason == "stop"
    for answer in (whole, streamed):
        assert answer.headers["x-hotnode-transport"] == way.transport
        assert answer.headers["x-hotnode-cluster"] == way.cluster
        assert ("x-hotnode-globus-task-id" in answer.headers) == (way.transport == "task")
    assert streamed.headers.get("x-hotnode-stream") == (None if way.pieces else "whole")


@pytest.mark.row("A-35", "C-63")
async def test_the_demo_s_stream_is_right(running: Running) -> None:
    shown: list[str] = []
    streamed = await asyncio.to_thread(
        stream, running.service.base_url, running.tokens[ALICE], MODEL, shown.append
    )
    assert streamed.right
    assert "".join(shown) == streamed.text
    assert 0 < streamed.first_s < streamed.whole_s


@pytest.mark.row("U-12")
async def test_curl_sees_events_and_their_end(running: Running, way: Way) -> None:
    body = json.dumps({"model": MODEL, "messages": STORY, "stream": True})
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sN", "--max-time", "60", f"{running.base_url(way.cluster)}/chat/completions"),
        *("-H", f"Authorization: Bearer {running.tokens[ALICE]}"),
        *("-H", "Content-Type: application/json", "-d", body),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    *events, done, rest = output.split(b"\n\n")
    assert all(event.startswith(b"data: {") for event in events)
    assert (done, rest) == (b"data: [DONE]", b"")


@pytest.mark.row("U-15")
async def test_usage_is_counted_whether_or_not_it_is_asked_for(running: Running, way: Way) -> None:
    async with running.openai(cluster=way.cluster) as client:
        quiet = await asked(client, stream=True)
        unasked = [chunk async for chunk in quiet.parse()]
        asking = await asked(client, stream=True, stream_options={"include_usage": True})
        *_, last = [chunk async for chunk in asking.parse()]
    assert all(chunk.choices and chunk.usage is None for chunk in unasked)
    assert last.choices == []
    for answer in (quiet, asking):
        line = await line_of(running, answer.headers["x-request-id"])
        assert line["output_tokens"] == last.usage.completion_tokens
        assert line["input_tokens"] == last.usage.prompt_tokens
        assert line["transport"] == way.transport


@pytest.mark.row("C-35")
async def test_tools_are_called_in_streams(running: Running, way: Way) -> None:
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": city}}
    question = [{"role": "user", "content": "What is the weather in Oslo?"}]
    async with running.openai(cluster=way.cluster) as client:
        streamed = await asked(client, messages=question, tools=[tool], stream=True)
        chunks = [chunk async for chunk in streamed.parse()]
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].function.name == "get_weather"
    assert json.loads("".join(call.function.arguments or "" for call in calls)) == {"city": "Oslo"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_what_the_engine_refuses_is_a_status(running: Running, way: Way) -> None:
    async with running.openai(cluster=way.cluster) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await asked(client, stream=True, max_tokens=99999)
    assert "99999" in refused.value.message
    assert refused.value.response.headers["x-hotnode-transport"] == way.transport


@pytest.mark.parametrize("way", [BY_RELAY, PUSHED], ids=str)
async def test_who_leaves_stops_the_engine_and_pays_for_what_it_made(
    running: Running, ready_engine: RunningEngine, way: Way
) -> None:
    await until_idle(ready_engine)
    before = await figure(ready_engine, "vllm:generation_tokens_total")
    async with running.openai(cluster=way.cluster) as client:
        streamed = await asked(client, stream=True, **ENDLESS)
        async with streamed.parse() as chunks:
            begun = [await anext(chunks) for _ in range(5)]
    assert len(begun) == 5
    await until_idle(ready_engine)
    made = await figure(ready_engine, "vllm:generation_tokens_total") - before
    assert 3 < made < ENDLESS["max_tokens"] / 2
    line = await line_of(running, streamed.headers["x-request-id"])
    assert 3 < line["output_tokens"] <= made


async def test_many_stream_at_once_by_all_ways(running: Running) -> None:
    async def text(way: Way) -> str:
        async with running.openai(cluster=way.cluster) as client:
            streamed = await asked(client, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in streamed.parse()])

    ways = (BY_RELAY, PUSHED, WHOLE) * 6
    texts = set(await asyncio.gather(*(text(way) for way in ways)))
    assert len(texts) == 1
    assert texts.pop().endswith(ENDING)


async def line_of(running: Running, request_id: str) -> dict[str, Any]:
    """Return the gateway's line about a request, when it has been written."""
    log = running.service.gateway.process.command.log

    def found() -> list[dict[str, Any]]:
        lines = log.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if request_id in line]
        return [entry for entry in entries if entry["event"] == "http_request"]

    await eventually(found)
    return found()[0]


async def figure(engine: RunningEngine, name: str) -> float:
    """Return what vLLM's page of metrics says."""
    connector = aiohttp.UnixConnector(str(engine.registration()["endpoint"]))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get("http://engine/metrics") as response,
    ):
        page = await response.text()
    return sum(float(n) for n in re.findall(rf"^{name}\{{.*\}} (\S+)$", page, re.MULTILINE))


async def until_idle(engine: RunningEngine) -> None:
    """Wait until the engine works on nothing."""

    async def idle() -> bool:
        return await figure(engine, "vllm:num_requests_running") == 0

    await eventually_so(idle, seconds=10, every_s=0.1)
