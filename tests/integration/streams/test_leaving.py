from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.streaming_gateway import Streaming, streaming_gateway
from tests.support.streams import DONE, BackendThatStreams, Chat

ASKED = {"include_usage": True, "continuous_usage_stats": True}
CHUNKS = Chat(options=ASKED).events()
SEEN = Chat().events()


async def test_a_caller_who_leaves_stops_the_engine_and_pays_for_what_was_made():
    backend = BackendThatStreams(*CHUNKS[:3], asyncio.Event())
    async with streaming_gateway(backend) as gateway:
        async with await gateway.raw() as client:
            await client.read_until(SEEN[2])
        await asyncio.wait_for(backend.streams[0].closed.wait(), 5)
        line = await gateway.line()
        metrics = await gateway.metrics()
    assert (line["status"], line["client"]) == (499, "left")
    assert (line["input_tokens"], line["output_tokens"]) == (9, 2)
    assert metrics.value("hotnode_tokens_total", kind="output") == 2
    assert metrics.value("hotnode_streams_broken_total", code="client_left") == 1
    assert metrics.value("hotnode_streams_open") == 0


async def test_a_caller_who_leaves_before_the_first_event_stops_the_engine():
    backend = BackendThatStreams(asyncio.Event())
    async with streaming_gateway(backend) as gateway:
        async with await gateway.raw():
            await asyncio.wait_for(backend.opened.wait(), 5)
        await asyncio.wait_for(backend.streams[0].closed.wait(), 5)
        line = await gateway.line()
    assert (line["status"], line["client"]) == (499, "left")


async def test_a_caller_who_reads_nothing_holds_back_its_own_engine_alone():
    large = b"data: " + b"x" * 60_000 + b"\n\n"
    endless = BackendThatStreams()
    endless.script = lambda _: (large for _ in iter(int, 1))
    async with streaming_gateway(endless, stall_timeout_s=1.0) as gateway:
        async with await gateway.raw() as idle:
            await idle.head()
            await asyncio.wait_for(endless.opened.wait(), 5)
            endless.script = lambda _: [CHUNKS[0], DONE]
            assert (await gateway.ask())[2] == SEEN[0] + DONE
            await asyncio.wait_for(endless.streams[0].closed.wait(), 10)
        assert endless.streams[0].sent * len(large) < 50_000_000
        await eventually(lambda: len(gateway.lines()) == 2)
    stalled = [line for line in gateway.lines() if line.get("client") == "stalled"]
    assert [line["status"] for line in stalled] == [499]


async def test_a_caller_who_reads_slowly_gets_everything():
    events = [b"data: %d %s\n\n" % (n, b"x" * 20_000) for n in range(100)]
    async with (
        streaming_gateway(BackendThatStreams(*events, DONE), stall_timeout_s=2.0) as gateway,
        await gateway.raw() as client,
    ):
        await client.head()
        for event in events:
            await client.read_until(event[-10:])
        await client.read_until(DONE)
        assert (await gateway.line())["status"] == 200


async def leave_at_random(gateway: Streaming, dice: random.Random) -> None:
    async with await gateway.raw() as client:
        with suppress(TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(dice.uniform(0.0, 0.6)):
                await client.read_until(b"[DONE]")


@pytest.mark.timeout(90)
async def test_two_hundred_callers_who_leave_at_random_leave_nothing_behind():
    dice = random.Random(7)  # noqa: S311 # for the same moments in every run
    backend = BackendThatStreams()
    backend.script = lambda _: [
        step for chunk in CHUNKS for step in (chunk, dice.uniform(0.0, 0.2))
    ]
    async with streaming_gateway(backend) as gateway:
        await asyncio.gather(*(leave_at_random(gateway, dice) for _ in range(200)))
        await eventually(lambda: all(stream.closed.is_set() for stream in backend.streams))
        await eventually(lambda: len(gateway.lines()) >= len(backend.streams))
        metrics = await gateway.metrics()
        names = {task.get_name() for task in asyncio.all_tasks()}
    assert metrics.value("hotnode_streams_open") == 0
    assert not {name for name in names if name in ("first event", "keep-alive", "settle")}
    assert {line["status"] for line in gateway.lines()} <= {200, 499}
    # What was not cut is whole.
    ended = [line for line in gateway.lines() if line["status"] == 200]
    assert all(line["output_tokens"] == 3 for line in ended)


async def test_a_server_that_stops_says_so_in_the_stream():
    backend = BackendThatStreams(CHUNKS[0], asyncio.Event())
    with capture_logs() as late:
        async with streaming_gateway(backend, grace_s=1) as gateway:
            client = await gateway.raw()
            await client.read_until(SEEN[0])
        async with client:
            rest = await client.rest()
        await eventually(lambda: [*gateway.lines(), *late])
    assert b'"code":"server_stopping"' in rest
    assert b"[DONE]" not in rest
    assert rest.endswith(b"0\r\n\r\n")
    line = [*gateway.lines(), *late][0]
    assert (line["status"], line["error_code"]) == (503, "server_stopping")
    assert backend.streams[0].closed.is_set()
