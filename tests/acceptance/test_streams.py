"""What callers see of a real vLLM's streams, and what the gateway learns of their cost."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from resource_server.domain.inference import InferenceRequest
from tests.support.catalogs import cluster
from tests.support.engine import RunningEngine
from tests.support.engine_stream import BackendAtAnEngine
from tests.support.streaming_gateway import streaming_gateway

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("at_site")]

#: What is another in each answer.
_OWN = re.compile(rb'"(?:id|created)":\s*(?:"[^"]*"|\d+)')
#: vLLM puts it into the chunk with usage if there is one, else into the last chunk with choices: of
#: whoever did not ask for usage, we drop it with the former.
_FINGERPRINT = re.compile(rb',"system_fingerprint":"[^"]*"')
ASK = [{"role": "user", "content": "What is the capital of France?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
OPTIONS = [
    None,
    {"include_usage": True},
    {"include_usage": True, "continuous_usage_stats": True},
]
ASKED: list[dict[str, Any]] = [
    {"messages": ASK},
    {"messages": ASK, "logprobs": True, "top_logprobs": 2},
    {"messages": ASK, "n": 2, "temperature": 1},
    {"messages": WEATHER, "tools": [TOOL]},
    {"messages": ASK, "chat_template_kwargs": {"enable_thinking": True}},
]


def events_of(body: bytes) -> list[bytes]:
    """Return the events without what no two answers share.

    vLLM puts the tokens of one step together, and steps fall as they like: text is compared whole.
    """
    return [_OWN.sub(b"", event) for event in body.split(b"\n\n")]


def members_of(body: bytes) -> list[set[str]]:
    """Return which members each chunk has, in their order, each kind of chunk once."""
    seen: list[set[str]] = []
    for event in body.split(b"\n\n"):
        if event.startswith(b"data: {"):
            members = set(json.loads(event[6:]))
            if members not in seen:
                seen.append(members)
    return seen


def pieces_of(body: bytes) -> list[tuple[int, str]]:
    """Return what each delta says, whatever it is, and of which choice."""
    return [
        (choice["index"], _said(choice["delta"]))
        for event in body.split(b"\n\n")
        if event.startswith(b"data: {")
        for choice in json.loads(event[6:])["choices"]
    ]


def steps_of(body: bytes) -> list[object]:
    """Return which tokens the engine put together: how many there were at each event."""
    return [
        (json.loads(event[6:]).get("usage") or {}).get("completion_tokens")
        for event in body.split(b"\n\n")
        if event.startswith(b"data: {")
    ]


def texts_of(body: bytes) -> dict[int, str]:
    """Return all that the deltas of each choice say."""
    texts: dict[int, str] = {}
    for index, piece in pieces_of(body):
        texts[index] = texts.get(index, "") + piece
    return texts


def _said(delta: dict[str, Any]) -> str:
    return (
        (delta.get("content") or "")
        + (delta.get("reasoning") or "")
        + "".join(call["function"].get("arguments") or "" for call in delta.get("tool_calls") or ())
    )


async def direct(engine: RunningEngine, body: dict[str, Any]) -> bytes:
    """Return what the engine itself says."""
    stream = await BackendAtAnEngine(engine).stream(
        cluster(),
        InferenceRequest(
            request_id="r",
            framework="vllm",
            model=engine.model,
            path="/v1/chat/completions",
            body=json.dumps(body).encode(),
            timeout_s=60,
            headers={"content-type": "application/json"},
        ),
    )
    try:
        return b"".join([part async for part in stream])
    finally:
        await stream.aclose()


@pytest.mark.row("A-35", "U-12", "C-63")
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("asked", ASKED)
async def test_the_caller_sees_what_the_engine_would_say(
    ready_engine: RunningEngine, asked: dict[str, Any], options: object
) -> None:
    body: dict[str, Any] = {
        "model": ready_engine.model,
        "stream": True,
        "temperature": 0,
        "seed": 1,
    } | asked
    if options is not None:
        body["stream_options"] = options
    expected = await direct(ready_engine, body)
    if options is None:
        expected = _FINGERPRINT.sub(b"", expected)
    async with streaming_gateway(
        BackendAtAnEngine(ready_engine), name=ready_engine.model
    ) as gateway:
        status, _, seen = await gateway.ask(**body)
        line = await gateway.line()
    assert (status, texts_of(seen)) == (200, texts_of(expected))
    assert members_of(seen) == members_of(expected)
    if (pieces_of(seen), steps_of(seen)) == (pieces_of(expected), steps_of(expected)):
        assert events_of(seen) == events_of(expected)
    assert seen.endswith(b"data: [DONE]\n\n")
    assert line["input_tokens"] > 0
    assert line["output_tokens"] > 0


@pytest.mark.parametrize(
    ("route", "asked"),
    [("responses", {"input": "Hi"}), ("messages", {"messages": ASK, "max_tokens": 30})],
)
async def test_the_other_dialects_end_as_they_should(
    ready_engine: RunningEngine, route: str, asked: dict[str, Any]
) -> None:
    async with streaming_gateway(
        BackendAtAnEngine(ready_engine), name=ready_engine.model
    ) as gateway:
        status, _, seen = await gateway.ask(route, model=ready_engine.model, temperature=0, **asked)
        line = await gateway.line()
    assert status == 200
    assert b'"type":"error"' not in seen
    assert "error_code" not in line
    assert line["input_tokens"] > 0
    assert line["output_tokens"] > 0


@pytest.mark.parametrize("options", [3, {"include_usage": "perhaps"}])
async def test_what_the_engine_refuses_it_refuses_by_status(
    ready_engine: RunningEngine, options: object
) -> None:
    async with streaming_gateway(
        BackendAtAnEngine(ready_engine), name=ready_engine.model
    ) as gateway:
        status, headers, _ = await gateway.ask(model=ready_engine.model, stream_options=options)
    assert status == 400
    assert headers["content-type"] == "application/json"


async def test_a_caller_who_leaves_pays_for_what_was_made(ready_engine: RunningEngine) -> None:
    asked = {
        "model": ready_engine.model,
        "messages": [{"role": "user", "content": "Tell me a story."}],
        "stream": True,
        "max_tokens": 1000,
        "ignore_eos": True,
    }
    async with streaming_gateway(
        BackendAtAnEngine(ready_engine), name=ready_engine.model
    ) as gateway:
        async with gateway.client.post("/v1/chat/completions", json=asked) as response:
            seen = 0
            async for event, _ in response.content.iter_chunks():
                seen += event.count(b"data: ")
                if seen > 10:
                    break
            response.close()
        line = await gateway.line()
    assert (line["status"], line["client"]) == (499, "left")
    assert 5 <= line["output_tokens"] < 1000
