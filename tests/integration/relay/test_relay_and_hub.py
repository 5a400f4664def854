"""The site's own relay and the hub: what the engine says is what the reader gets, cut or not."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from resource_server.adapters.relay.shares import Room
from resource_server.domain import errors
from resource_server.domain.inference import InferenceRequest
from resource_server.ports import AnswerStream
from tests.support.eventually import eventually
from tests.support.relay_hub import asking

pytestmark = pytest.mark.timeout(120)


def request(**asked: Any) -> InferenceRequest:
    return asking(json.dumps(asked).encode())


async def read(between: Any, **asked: Any) -> bytes:
    """Return the whole text of a stream."""
    stream = await between.hub.backend.stream(between.cluster, request(**asked))
    try:
        return b"".join([piece async for piece in stream])
    finally:
        await stream.aclose()


async def gathered(stream: AnswerStream, came: list[bytes]) -> None:
    """Put the pieces into a list, as long as there are some."""
    async for piece in stream:
        came.append(piece)  # noqa: PERF401 - the list keeps what came before an error


def said(between: Any) -> list[bytes]:
    """Return what the engine said, request by request."""
    return [bytes(served.said) for served in between.engine.served.values()]


async def test_a_stream_is_the_engine_s_byte_for_byte(between: Any) -> None:
    text = await read(between, tokens=200)
    assert text.endswith(b"data: [DONE]\n\n")
    assert said(between) == [text]


async def test_whole_answers_of_every_size(between: Any) -> None:
    for size in (0, 1, 65_536, 300_000, 5_000_000):
        answer = await between.hub.backend.infer(between.cluster, request(plain=size))
        assert json.loads(answer.body) == {"text": "x" * size}
        assert (answer.status, answer.transport) == (200, "relay")
        assert answer.hops.engine_s > 0


async def test_a_large_request_reaches_the_engine_whole(between: Any) -> None:
    filling = secrets.token_hex(3_000_000)
    await between.hub.backend.infer(between.cluster, request(plain=1, filling=filling))
    [served] = between.engine.served.values()
    assert served.asked["filling"] == filling


async def test_many_streams_at_once_keep_apart(between: Any) -> None:
    texts = await asyncio.gather(*(read(between, tokens=30, pad=n) for n in range(100)))
    assert sorted(texts) == sorted(said(between))


@pytest.mark.parametrize("value", ["00-\x85", "a\nb", "half \ud800"])
async def test_a_header_that_is_none_harms_no_other_request(between: Any, value: str) -> None:
    stream = await between.hub.backend.stream(between.cluster, request(tokens=9, every_s=0.05))
    odd = replace(request(plain=1), headers={"traceparent": value})
    with pytest.raises(errors.InvalidRequest):
        await between.hub.backend.infer(between.cluster, odd)
    text = b"".join([piece async for piece in stream])
    await stream.aclose()
    assert text.endswith(b"data: [DONE]\n\n")


async def test_an_error_of_the_engine_s_own_is_an_answer(between: Any) -> None:
    answer = await between.hub.backend.infer(between.cluster, request(refuse=422))
    assert (answer.status, json.loads(answer.body)) == (422, {"error": "no"})


async def test_an_engine_that_breaks_off_is_an_honest_error(between: Any) -> None:
    stream = await between.hub.backend.stream(between.cluster, request(tokens=9, break_at=5))
    came: list[bytes] = []
    with pytest.raises(errors.BackendInterrupted):
        await gathered(stream, came)
    await stream.aclose()
    assert said(between) == [b"".join(came)]


async def test_a_reader_who_leaves_stops_the_engine(between: Any) -> None:
    stream = await between.hub.backend.stream(between.cluster, request(tokens=9, pause_at=3))
    await anext(stream)
    await stream.aclose()
    [served] = between.engine.served.values()
    async with asyncio.timeout(10):
        await served.hung_up.wait()


async def test_a_caller_who_leaves_before_the_head_stops_the_engine(between: Any) -> None:
    asked = asyncio.create_task(between.hub.backend.infer(between.cluster, request(hang=True)))
    await eventually(lambda: between.engine.served)
    asked.cancel()
    await asyncio.wait({asked})
    [served] = between.engine.served.values()
    async with asyncio.timeout(10):
        await served.hung_up.wait()


async def test_a_slow_reader_gets_all_and_holds_up_nobody(between: Any) -> None:
    slow = await between.hub.backend.stream(between.cluster, request(tokens=60, pad=20_000))
    assert (await read(between, tokens=500)).endswith(b"[DONE]\n\n")
    came = b""
    async for piece in slow:
        came += piece
        await asyncio.sleep(0)
    await slow.aclose()
    assert came in said(between)


async def test_cut_again_and_again_no_byte_is_lost_or_doubled(between: Any) -> None:
    """The wire is cut at random moments while streams of all sizes run."""
    chance = random.Random(4)  # noqa: S311 - the same moments each time, as far as that goes
    readers = [
        asyncio.create_task(read(between, tokens=150, every_s=0.004, pad=chance.randrange(3000)))
        for _ in range(12)
    ]
    while not all(task.done() for task in readers):
        await asyncio.sleep(chance.uniform(0.01, 0.15))
        between.wire.cut()
        if between.wire.cuts % 3 == 0:
            await between.ready()
    texts = await asyncio.gather(*readers)
    assert sorted(texts) == sorted(said(between))
    assert between.wire.cuts > 3
    [health] = between.hub.links.health()
    assert health.traffic.resumes > 0
    assert health.traffic.interrupted == 0


async def test_a_large_request_outlives_cuts(between: Any) -> None:
    filling = secrets.token_hex(4_000_000)
    asked = asyncio.create_task(
        between.hub.backend.infer(between.cluster, request(plain=3_000_000, filling=filling))
    )
    for _ in range(4):
        await asyncio.sleep(0.02)
        between.wire.cut()
        await between.ready()
    answer = await asked
    assert len(json.loads(answer.body)["text"]) == 3_000_000
    [served] = between.engine.served.values()
    assert served.asked["filling"] == filling


async def test_a_hub_that_comes_back_is_linked_again_and_knows_nothing(
    opened: Any, tmp_path: Path
) -> None:
    async with opened(tmp_path, resume_within_s=0.2) as between:
        stream = await between.hub.backend.stream(between.cluster, request(tokens=9, pause_at=3))
        await anext(stream)
        between.wire.down = True
        between.wire.cut()
        with pytest.raises(errors.BackendInterrupted):
            await gathered(stream, [])
        between.wire.down = False
        await between.ready()
        [served] = between.engine.served.values()
        async with asyncio.timeout(10):
            await served.hung_up.wait()
        assert (await read(between, tokens=3)).endswith(b"[DONE]\n\n")


async def test_a_relay_that_drains_finishes_and_takes_no_more(between: Any) -> None:
    stream = await between.hub.backend.stream(between.cluster, request(tokens=5, pause_at=3))
    await anext(stream)
    between.relay.drain()
    await eventually(lambda: not between.hub.backend.serves(between.cluster, request()))
    between.engine.go.set()
    rest = b"".join([piece async for piece in stream])
    assert rest.endswith(b"[DONE]\n\n")
    await stream.aclose()


async def test_sessions_are_renewed_and_used(opened: Any, tmp_path: Path) -> None:
    # Shorter than the margin in which a relay still shows one: each dial needs a credential.
    async with opened(tmp_path, session_s=0.2) as between:
        for _ in range(3):
            between.wire.cut()
            await asyncio.sleep(0.05)
            await between.ready()
        assert (await read(between, tokens=3)).endswith(b"[DONE]\n\n")


@pytest.mark.parametrize(
    ("what", "line"), [("links", {"close_code": 1013}), ("connections", {"status": 429})]
)
async def test_a_relay_for_which_there_is_no_room_comes_again(
    between: Any, what: str, line: dict[str, int]
) -> None:
    cluster = between.cluster.name
    room: Room = getattr(between.hub.links.share(cluster), what)
    taken = 0
    while room.take(1):
        taken += 1
    # What the relay's first link gives back is owed.
    room.give_back(-1)
    with capture_logs() as log:
        for link in list(between.hub.links):
            link.end("the test wants it")
        wanted = ({"event": "relay_refused", "cluster": cluster} | line).items()
        await eventually(lambda: sum(one.items() >= wanted for one in log) > 1)
        room.give_back(taken + 1)
        await between.ready()
