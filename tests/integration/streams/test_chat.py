from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import aiohttp
import pytest

from resource_server.domain import errors
from tests.support.eventually import eventually
from tests.support.streaming_gateway import Streaming, streaming_gateway
from tests.support.streams import DONE, HEAD, JSON_HEAD, BackendThatStreams, Chat, named


def chat(*tokens: str) -> BackendThatStreams:
    """Return an engine that answers as vLLM does, in whatever the options ask."""
    backend = BackendThatStreams()
    backend.script = lambda request: Chat.asked(request, *tokens).events()
    return backend


ASKED = [
    {},
    {"stream_options": None},
    {"stream_options": {}},
    {"stream_options": {"include_usage": False}},
    {"stream_options": {"include_usage": True}},
    {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    {"stream_options": {"continuous_usage_stats": True}},
]


@pytest.mark.row("A-35", "U-12", "C-63")
@pytest.mark.parametrize("asked", ASKED)
async def test_the_caller_sees_what_the_engine_says_to_who_asks_the_same(asked):
    async with streaming_gateway(chat()) as gateway:
        status, headers, body = await gateway.ask(**asked)
        line = await gateway.line()
    alone = Chat(options=asked.get("stream_options") or {})
    assert (status, body) == (200, b"".join(alone.events()))
    assert headers["content-type"] == HEAD.content_type
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert (headers["x-hotnode-cluster"], headers["x-hotnode-transport"]) == ("local", "relay")
    assert int(headers["x-ratelimit-remaining-concurrent"]) == 999
    assert (line["status"], line["stream"], line["transport"]) == (200, True, "relay")
    assert (line["input_tokens"], line["output_tokens"]) == (9, 3)
    assert line["bytes_out"] == len(body)
    assert 0 < line["ttft_ms"] <= line["duration_ms"]
    assert "error_code" not in line


async def test_any_cutting_of_the_engine_s_bytes_gives_the_caller_the_same():
    asked = Chat(options={"include_usage": True, "continuous_usage_stats": True})
    body = b"".join(asked.events())
    cut = [body[at : at + 7] for at in range(0, len(body), 7)]
    async with streaming_gateway(BackendThatStreams(*cut)) as gateway:
        assert (await gateway.ask())[2] == b"".join(Chat().events())


@pytest.mark.parametrize("options", [3, [], "x", {"include_usage": "perhaps"}])
async def test_options_that_are_no_options_are_the_engine_s_to_refuse(options):
    backend = BackendThatStreams(b'{"error": {}}', head=JSON_HEAD)
    async with streaming_gateway(backend) as gateway:
        await gateway.ask(stream_options=options)
    assert json.loads(backend.asked[0].body)["stream_options"] == options


async def test_strange_events_pass_byte_for_byte():
    strange = [
        b": a comment\n\n",
        b'data: {"choices":[{"delta":{"r":"\\",\\"usage\\":{","x":[1, 2]}}],  "y":1.5}\r\n\r\n',
        b'id: 7\nevent: x\ndata: {"a":\ndata: 1}\n\n',
        b"data: " + b"x" * 2_000_000 + b"\n\n",
        b"\n\n",
    ]
    async with streaming_gateway(BackendThatStreams(*strange, DONE)) as gateway:
        assert (await gateway.ask())[2] == b"".join(strange) + DONE


async def test_a_form_streams_too_and_its_usage_is_known():
    chunks = Chat(options={"include_usage": True, "continuous_usage_stats": True}).events()
    backend = BackendThatStreams(*chunks)
    async with streaming_gateway(backend) as gateway:
        form = aiohttp.FormData({"model": "open/chat", "stream": "true"})
        form.add_field("file", b"RIFF", filename="a.wav")
        async with gateway.client.post("/v1/audio/transcriptions", data=form) as response:
            assert await response.read() == b"".join(Chat().events())
        assert (await gateway.line())["output_tokens"] == 3
    sent = backend.asked[0].body
    assert sent.count(b'name="stream_include_usage"') == 1
    assert sent.count(b'name="stream_continuous_usage_stats"') == 1


@pytest.mark.parametrize("route", ["embeddings"])
async def test_a_route_without_parts_says_so(route):
    backend = BackendThatStreams()
    async with streaming_gateway(backend) as gateway:
        status, _, body = await gateway.ask(route, input="x")
    error = json.loads(body)["error"]
    assert (status, error["code"], error["param"]) == (400, "streaming_not_supported", "stream")
    assert backend.asked == []


# Answers in one piece.


@pytest.mark.parametrize("status", [200, 400, 429, 500])
async def test_an_answer_that_is_no_stream_is_given_back_whole(status):
    said = b'{"usage": {"prompt_tokens": 2, "completion_tokens": 1}}'
    backend = BackendThatStreams(said[:5], said[5:], head=replace(JSON_HEAD, status=status))
    async with streaming_gateway(backend) as gateway:
        got, headers, body = await gateway.ask()
        line = await gateway.line()
    assert (got, body, headers["content-type"]) == (status, said, JSON_HEAD.content_type)
    assert (line["input_tokens"], "stream" in line) == (2, False)
    assert backend.streams[0].closed.is_set()


async def test_an_engine_that_refuses_the_site_s_key_is_not_the_caller_s_fault():
    backend = BackendThatStreams(b"{}", head=replace(JSON_HEAD, status=401))
    async with streaming_gateway(backend) as gateway:
        assert (await gateway.ask())[0] == 503
    assert backend.streams[0].closed.is_set()


# Failures.


def code_of(body: bytes) -> str:
    """Return the code of the error that is the last event, behind which is nothing."""
    assert body.endswith(b"\n\n")
    last = body.removesuffix(b"\n\n").split(b"\n\n")[-1]
    code: str = json.loads(last.removeprefix(b"data: "))["error"]["code"]
    return code


CHUNK = Chat().events()[0]


@pytest.mark.parametrize(
    ("steps", "status", "code"),
    [
        ([], 503, "backend_interrupted"),
        ([b"data: {"], 503, "backend_interrupted"),
        ([errors.BackendInterrupted()], 503, "backend_interrupted"),
        ([errors.BackendTimeout()], 504, "backend_timeout"),
        ([b'data: {"error": {"message": "No.", "code": 400}}\n\n', DONE], 400, 400),
        ([b'data: {"error": {"message": "No.", "code": "x"}}\n\n', DONE], 500, "x"),
    ],
)
async def test_a_failure_before_the_first_event_is_a_status(steps, status, code):
    backend = BackendThatStreams(*steps)
    async with streaming_gateway(backend) as gateway:
        got, headers, body = await gateway.ask()
        line = await gateway.line()
    assert (got, json.loads(body)["error"]["code"]) == (status, code)
    assert headers["content-type"] == "application/json"
    assert (line["cluster"], line["status"]) == ("local", status)
    assert backend.streams[0].closed.is_set()


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([], "backend_interrupted"),
        ([b'data: {"choices":[{"de'], "backend_interrupted"),
        ([errors.BackendInterrupted()], "backend_interrupted"),
        ([errors.BackendTimeout()], "backend_timeout"),
    ],
)
async def test_a_stream_that_breaks_off_ends_in_an_error_and_in_no_end_marker(steps, code):
    backend = BackendThatStreams(CHUNK, *steps)
    async with streaming_gateway(backend) as gateway:
        status, _, body = await gateway.ask()
        line = await gateway.line()
        metrics = await gateway.metrics()
    assert status == 200
    assert body.startswith(CHUNK + b'data: {"error":')
    assert code_of(body) == code
    assert b"[DONE]" not in body
    assert (line["status"], line["error_code"]) == (200, code)
    assert metrics.value("hotnode_streams_broken_total", code=code) == 1
    assert metrics.value("hotnode_requests_total", code=code, status="200") == 1


async def test_behind_the_engine_s_own_error_nothing_pretends_a_good_end():
    error = b'data: {"error": {"message": "Out of memory", "code": 500}}\n\n'
    backend = BackendThatStreams(CHUNK, error, DONE)
    async with streaming_gateway(backend) as gateway:
        _, _, body = await gateway.ask()
        line = await gateway.line()
    assert body == CHUNK + error
    assert line["error_code"] == "engine_error"


async def test_what_breaks_behind_the_end_harms_nobody():
    backend = BackendThatStreams(CHUNK, DONE, errors.BackendInterrupted())
    async with streaming_gateway(backend) as gateway:
        _, _, body = await gateway.ask()
        line = await gateway.line()
    assert body == CHUNK + DONE
    assert "error_code" not in line


async def test_an_end_marker_without_its_blank_line_is_one():
    async with streaming_gateway(BackendThatStreams(CHUNK, b"data: [DONE]\n")) as gateway:
        assert (await gateway.ask())[2] == CHUNK + b"data: [DONE]\n"


CREATED, COMPLETED = named(
    ("response.created", {"sequence_number": 0}),
    (
        "response.completed",
        {"sequence_number": 1, "response": {"usage": {"input_tokens": 4, "output_tokens": 6}}},
    ),
)


async def test_responses_end_with_the_whole_response():
    async with streaming_gateway(BackendThatStreams(CREATED, COMPLETED)) as gateway:
        _, _, body = await gateway.ask("responses", input="x")
        line = await gateway.line()
    assert body == CREATED + COMPLETED
    assert (line["input_tokens"], line["output_tokens"]) == (4, 6)


async def test_responses_that_break_off_end_in_their_own_event():
    async with streaming_gateway(BackendThatStreams(CREATED)) as gateway:
        _, _, body = await gateway.ask("responses", input="x")
    name, data = body.removeprefix(CREATED).strip().split(b"\n")
    said = json.loads(data.removeprefix(b"data: "))
    assert name == b"event: error"
    assert (said["type"], said["code"], said["sequence_number"]) == (
        "error",
        "backend_interrupted",
        1,
    )
    assert said["error"]["code"] == "backend_interrupted"


START, DELTA, STOP = named(
    ("message_start", {"message": {"usage": {"input_tokens": 7, "output_tokens": 0}}}),
    ("message_delta", {"delta": {}, "usage": {"output_tokens": 5}}),
    ("message_stop", {}),
)


@pytest.mark.parametrize(("events", "output"), [([START, DELTA, STOP], 5), ([START], 0)])
async def test_messages_end_with_their_own_event_or_error(events, output):
    async with streaming_gateway(BackendThatStreams(*events)) as gateway:
        _, _, body = await gateway.ask("messages", max_tokens=5)
        line = await gateway.line()
    assert (line["input_tokens"], line["output_tokens"]) == (7, output)
    rest = body.removeprefix(b"".join(events))
    if STOP in events:
        assert rest == b""
        return
    name, data = rest.strip().split(b"\n")
    said = json.loads(data.removeprefix(b"data: "))
    assert (name, said["type"], said["error"]["code"]) == (
        b"event: error",
        "error",
        "backend_interrupted",
    )


# Waiting.


@pytest.mark.row("U-14")
async def test_silence_is_filled_with_comments():
    go_on = asyncio.Event()
    backend = BackendThatStreams(CHUNK, go_on, DONE)
    async with streaming_gateway(backend, keep_alive_s=0.05) as gateway:
        async with await gateway.raw() as client:
            assert (await client.head())[0] == 200
            await client.read_until(b": keep-alive\n\n")
            await client.read_until(b": keep-alive\n\n")
            go_on.set()
            await client.read_until(DONE)
        await gateway.line()


async def test_a_first_event_that_is_late_does_not_hold_back_the_head():
    go_on = asyncio.Event()
    backend = BackendThatStreams(go_on, errors.BackendInterrupted())
    async with streaming_gateway(backend, first_event_s=0.05) as gateway:
        async with await gateway.raw() as client:
            assert (await client.head())[0] == 200
            await client.read_until(b": keep-alive\n\n")
            go_on.set()
            assert b"backend_interrupted" in await client.read_until(b"0\r\n\r\n")
        line = await gateway.line()
    assert line["error_code"] == "backend_interrupted"
    assert "ttft_ms" not in line


async def test_streams_are_counted_while_they_are_open():
    go_on = asyncio.Event()
    async with streaming_gateway(BackendThatStreams(CHUNK, go_on, DONE)) as gateway:
        async with await gateway.raw() as client:
            await client.read_until(CHUNK)
            assert (await gateway.metrics()).value("hotnode_streams_open") == 1
            go_on.set()
            await client.read_until(DONE)
        await gateway.line()
        metrics = await gateway.metrics()
    assert metrics.value("hotnode_streams_open") == 0
    assert metrics.value("hotnode_stream_first_event_seconds_count") == 1


async def test_a_place_is_taken_until_the_end():
    go_on = asyncio.Event()
    backend = BackendThatStreams(CHUNK, go_on, DONE)

    async def places_left(gateway: Streaming) -> int:
        backend.script = lambda _: [CHUNK, DONE]
        _, headers, _ = await gateway.ask()
        return int(headers["x-ratelimit-remaining-concurrent"])

    async with streaming_gateway(backend) as gateway:
        async with await gateway.raw() as client:
            await client.read_until(CHUNK)
            assert await places_left(gateway) == 998
            go_on.set()
            await client.read_until(DONE)
        await eventually(lambda: len(gateway.lines()) == 2)
        assert await places_left(gateway) == 999
