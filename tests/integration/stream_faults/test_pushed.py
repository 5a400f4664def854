"""Streams by task, which functions push: each part of the way dies, breaks, pauses or lies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from compute_functions.contract.frames import Frame, FrameKind, encoded
from compute_functions.contract.pushes import STREAM
from compute_functions.contract.relay import AnswerEnd, AnswerHead
from tests.support.engine_process import engine_on_socket
from tests.support.eventually import eventually, eventually_so
from tests.support.faults import DONE, Reading
from tests.support.local_globus import LocalGlobus
from tests.support.paced_engine import Served
from tests.support.process_table import peer
from tests.support.push_plant import MORTAL, PushPlant, PushSite, push_plant, push_site
from tests.support.push_wire import Opening

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(200)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(globus: LocalGlobus) -> AsyncIterator[PushSite]:
    async with push_site(globus) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(site: PushSite) -> AsyncIterator[PushPlant]:
    async with push_plant(site) as running:
        yield running


@pytest.fixture
def pushed(shared: PushPlant) -> PushPlant:
    shared.engine.go.clear()
    return shared


def pushing_process(plant: PushPlant, reading: Reading) -> int:
    """Return the id of the process that calls the engine for a stream."""
    (served,) = plant.served(reading.tag)
    assert served.transport is not None
    return peer(served.transport.get_extra_info("socket"))


async def begun(plant: PushPlant, number: int) -> list[Reading]:
    """Begin streams that go on for longer than any test, and wait until they are under way."""
    readings = [plant.begin(tokens=3000, every_s=0.02) for _ in range(number)]
    for reading in readings:
        await reading.until(b'"n":3,')
    return readings


async def hung_up(plant: PushPlant, readings: list[Reading]) -> None:
    """Wait until the engine was told to stop each of them."""
    async with asyncio.timeout(20):
        for reading in readings:
            await plant.served(reading.tag)[0].hung_up.wait()


@pytest.mark.row("A-35", "C-63")
async def test_all_comes_and_nothing_twice(pushed: PushPlant) -> None:
    readings = [pushed.begin(tokens=50, every_s=0.01, pad=500) for _ in range(10)]
    assert [await pushed.ended(reading) for reading in readings] == ["whole"] * 10


async def test_a_gateway_that_is_killed_ends_its_streams_honestly(site: PushSite) -> None:
    async with push_plant(site) as running:
        readings = await begun(running, 10)
        os.killpg(running.gateway.process.pid, signal.SIGKILL)
        assert [await running.ended(reading) for reading in readings] == ["cut"] * 10
        await hung_up(running, readings)


async def test_a_connection_that_is_cut_ends_its_stream_honestly(pushed: PushPlant) -> None:
    """A pushed answer cannot be resumed; nobody asks the engine again."""
    readings = await begun(pushed, 5)
    pushed.wire.cut()
    assert [await pushed.ended(reading) for reading in readings] == ["error"] * 5
    assert {reading.error["code"] for reading in readings} == {"backend_interrupted"}
    await hung_up(pushed, readings)
    assert await pushed.ended(pushed.begin(tokens=3)) == "whole"


@pytest.mark.parametrize("at", [0, 1])
async def test_an_engine_that_breaks_off_before_the_first_event_is_a_status(
    pushed: PushPlant, at: int
) -> None:
    reading = pushed.begin(tokens=9, break_at=at)
    assert await pushed.ended(reading) == "refused"
    assert (reading.status, reading.error["code"]) == (503, "backend_interrupted")
    assert len(pushed.served(reading.tag)) == 1


async def test_an_engine_s_own_error_before_the_first_event_is_its_status(
    pushed: PushPlant,
) -> None:
    reading = pushed.begin(refuse=422)
    await reading.end()
    assert (reading.status, reading.body) == (422, b'{"error": "no"}')


@pytest.mark.parametrize("at", [2, 30])
async def test_an_engine_that_breaks_off_within_its_answer_is_an_error(
    pushed: PushPlant, at: int
) -> None:
    reading = pushed.begin(tokens=40, break_at=at)
    assert await pushed.ended(reading) == "error"
    assert reading.error["code"] == "backend_interrupted"


async def test_an_engine_that_is_killed_ends_its_streams_honestly(
    pushed: PushPlant, tmp_path: Path
) -> None:
    async with engine_on_socket(tmp_path) as (engine, socket):
        pushed.site.register(MORTAL, socket)
        readings = [pushed.begin(model=MORTAL, tokens=3000, every_s=0.02) for _ in range(10)]
        for reading in readings:
            await reading.until(b'"n":3,')
        os.killpg(engine.pid, signal.SIGKILL)
        for reading in readings:
            await reading.end()
            assert reading.judged((tmp_path / reading.tag).read_bytes()) == "error"
            assert reading.error["code"] == "backend_interrupted"
        late = pushed.begin(model=MORTAL, tokens=3)
        await late.end()
        assert (late.status, late.error["code"]) == (503, "backend_unavailable")


async def test_events_of_two_megabytes_pass_whole(pushed: PushPlant) -> None:
    readings = [pushed.begin(tokens=5, pad=2_000_000) for _ in range(4)]
    small = pushed.begin(tokens=50, every_s=0.01)
    assert [await pushed.ended(reading) for reading in readings] == ["whole"] * 4
    assert await pushed.ended(small) == "whole"


async def test_clients_who_leave_stop_the_engine_and_leave_nothing(pushed: PushPlant) -> None:
    """More than the site has workers: some leave before their task has begun."""
    chance = random.Random(7)  # noqa: S311 - the same moments each time, as far as that goes
    served: list[Served] = []

    async def leave_at_random(tag: str) -> None:
        async with await pushed.raw(tag=tag, tokens=3000, every_s=0.02) as client:
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(0.0, 4.0)):
                    await client.read_until(DONE)

    # The site's first tasks load its programs; on a busy machine all may have left by then.
    for round_ in range(6):
        tags = [f"leaver-{round_}-{n}" for n in range(50)]
        await asyncio.gather(*(leave_at_random(tag) for tag in tags))
        served += [one for tag in tags for one in pushed.served(tag)]
        if len(served) > 10:
            break
    assert len(served) > 10
    await eventually(lambda: all(one.hung_up.is_set() for one in served), seconds=5)
    assert max(Counter(one.asked["tag"] for one in served).values()) == 1

    async def nothing_open() -> bool:
        page = await pushed.metrics()
        pushes = sum(value for _, value in page.series("hotnode_pushed_streams_open"))
        return page.value("hotnode_streams_open") == 0 and pushes == 0

    await eventually_so(nothing_open, every_s=0.05)
    assert await pushed.ended(pushed.begin(tokens=3)) == "whole"


async def test_a_secret_opens_its_own_stream_once(pushed: PushPlant) -> None:
    one = pushed.begin(tokens=6, pause_at=4)
    await one.until(b'"n":3,')
    first = pushed.wire.opened[-1]
    # Replayed, while the stream is under way.
    assert await forged(pushed, first.path, first.secret) == 410

    pushed.wire.free.clear()
    before = len(pushed.wire.opened)
    two = pushed.begin(tokens=6)
    await eventually(lambda: len(pushed.wire.opened) > before)
    second: Opening = pushed.wire.opened[-1]
    # Foreign, before the true one is there; the stream waits on.
    assert await forged(pushed, second.path, first.secret) == 401
    assert await forged(pushed, second.path, "") == 401
    pushed.wire.free.set()
    assert await pushed.ended(two) == "whole"
    assert await forged(pushed, second.path, second.secret) == 410

    pushed.engine.go.set()
    assert await pushed.ended(one) == "whole"
    assert await forged(pushed, first.path, first.secret) == 410
    log = pushed.gateway.process.command.log.read_text(encoding="utf-8")
    assert log.count('"push_refused"') == 2
    assert first.secret not in log
    assert second.secret not in log


async def forged(plant: PushPlant, path: str, secret: str) -> int:
    """Push an answer of one's own; return the hub's status."""
    text = b'data: {"n":666}\n\n'
    head = AnswerHead(status=200, headers={"content-type": "text/event-stream"})
    frames = [
        Frame(FrameKind.HEAD, STREAM, 0, head.to_payload()),
        Frame(FrameKind.DATA, STREAM, 0, text),
        Frame(FrameKind.END, STREAM, len(text), AnswerEnd().to_payload()),
    ]
    url = f"http://127.0.0.1:{plant.hub_port}{path}"
    headers = {"authorization": f"Bearer {secret}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=b"".join(map(encoded, frames)), expect100=True) as response,
    ):
        return response.status


async def test_a_site_whose_process_is_killed_ends_its_streams_honestly(
    pushed: PushPlant,
) -> None:
    readings = await begun(pushed, 10)
    processes = {pushing_process(pushed, reading) for reading in readings}
    assert os.getpid() not in processes
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    ends = [await pushed.ended(reading, seconds=20) for reading in readings]
    assert ends == ["error"] * 10
    assert {reading.error["code"] for reading in readings} == {"backend_interrupted"}
    await hung_up(pushed, readings)
    # The agent runs the next one in a process of its own.
    assert await pushed.ended(pushed.begin(tokens=3), seconds=60) == "whole"
