"""Streams of engines that the gateway reaches by itself: each part of the way dies or breaks."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.direct_plant import DirectPlant, direct_plant
from tests.support.engine_process import engine_on_port
from tests.support.eventually import eventually, eventually_so
from tests.support.faults import DONE, Reading
from tests.support.local_globus import LocalGlobus
from tests.support.process_table import open_files

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(150)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(globus: LocalGlobus) -> AsyncIterator[DirectPlant]:
    async with direct_plant(globus) as running:
        yield running


@pytest.fixture
def direct(shared: DirectPlant) -> DirectPlant:
    shared.engine.go.clear()
    return shared


async def begun(plant: DirectPlant, number: int) -> list[Reading]:
    """Begin streams that go on for longer than any test, and wait until they are under way."""
    readings = [plant.begin(tokens=3000, every_s=0.02) for _ in range(number)]
    for reading in readings:
        await reading.until(b'"n":3,')
    return readings


async def hung_up(plant: DirectPlant, readings: list[Reading]) -> None:
    """Wait until the engine was told to stop each of them."""
    async with asyncio.timeout(20):
        for reading in readings:
            await plant.served(reading.tag)[0].hung_up.wait()


@pytest.mark.row("A-35", "C-63")
async def test_all_comes_and_nothing_twice(direct: DirectPlant) -> None:
    readings = [direct.begin(tokens=50, every_s=0.01, pad=500) for _ in range(50)]
    assert [await direct.ended(reading) for reading in readings] == ["whole"] * 50


async def test_a_gateway_that_is_killed_ends_its_streams_honestly(globus: LocalGlobus) -> None:
    async with direct_plant(globus) as running:
        readings = await begun(running, 20)
        os.killpg(running.gateway.process.pid, signal.SIGKILL)
        assert [await running.ended(reading) for reading in readings] == ["cut"] * 20
        await hung_up(running, readings)


async def test_a_connection_that_is_cut_ends_its_stream_honestly(direct: DirectPlant) -> None:
    readings = await begun(direct, 20)
    direct.wire.cut()
    assert [await direct.ended(reading) for reading in readings] == ["error"] * 20
    assert {reading.error["code"] for reading in readings} == {"backend_interrupted"}
    await hung_up(direct, readings)
    assert await direct.ended(direct.begin(tokens=3)) == "whole"


async def test_a_way_that_is_down_is_a_status_and_then_serves_again(direct: DirectPlant) -> None:
    direct.wire.down = True
    direct.wire.cut()
    late = direct.begin(tokens=3)
    assert await direct.ended(late) == "refused"
    assert (late.status, late.error["code"]) == (503, "backend_unavailable")
    direct.wire.down = False
    assert await direct.ended(direct.begin(tokens=3)) == "whole"


@pytest.mark.parametrize(("at", "code"), [(0, "backend_unavailable"), (1, "backend_interrupted")])
async def test_an_engine_that_breaks_off_before_the_first_event_is_a_status(
    direct: DirectPlant, at: int, code: str
) -> None:
    reading = direct.begin(tokens=9, break_at=at)
    assert await direct.ended(reading) == "refused"
    assert (reading.status, reading.error["code"]) == (503, code)
    assert len(direct.served(reading.tag)) == 1


async def test_an_engine_s_own_error_before_the_first_event_is_its_status(
    direct: DirectPlant,
) -> None:
    reading = direct.begin(refuse=422)
    await reading.end()
    assert (reading.status, reading.body) == (422, b'{"error": "no"}')


@pytest.mark.parametrize("at", [2, 30])
async def test_an_engine_that_breaks_off_within_its_answer_is_an_error(
    direct: DirectPlant, at: int
) -> None:
    reading = direct.begin(tokens=40, break_at=at)
    assert await direct.ended(reading) == "error"
    assert reading.error["code"] == "backend_interrupted"


async def test_an_engine_that_is_killed_ends_its_streams_honestly(
    direct: DirectPlant, tmp_path: Path
) -> None:
    mortal = direct.mortal
    async with engine_on_port(tmp_path, mortal.mortal_port) as engine:
        readings = [mortal.begin(tokens=3000, every_s=0.02) for _ in range(20)]
        for reading in readings:
            await reading.until(b'"n":3,')
        os.killpg(engine.pid, signal.SIGKILL)
        for reading in readings:
            await reading.end()
            assert reading.judged((tmp_path / reading.tag).read_bytes()) == "error"
            assert reading.error["code"] == "backend_interrupted"
        late = mortal.begin(tokens=3)
        await late.end()
        assert (late.status, late.error["code"]) == (503, "backend_unavailable")
        assert not (tmp_path / late.tag).exists()


async def test_events_of_two_megabytes_pass_whole(direct: DirectPlant) -> None:
    readings = [direct.begin(tokens=5, pad=2_000_000) for _ in range(4)]
    small = direct.begin(tokens=50, every_s=0.01)
    assert [await direct.ended(reading) for reading in readings] == ["whole"] * 4
    assert await direct.ended(small) == "whole"


@pytest.mark.row("C-63")
async def test_two_hundred_clients_who_leave_stop_the_engine_and_leave_nothing(
    direct: DirectPlant,
) -> None:
    chance = random.Random(7)  # noqa: S311 - the same moments each time, as far as that goes
    await direct.ended(direct.begin(tokens=3))
    gateway = direct.gateway.process.pid
    before = open_files(gateway)
    tags = [f"leaver-{n}" for n in range(200)]

    async def leave_at_random(tag: str) -> None:
        async with await direct.raw(tag=tag, tokens=200, every_s=0.02) as client:
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(0.0, 3.0)):
                    await client.read_until(DONE)

    await asyncio.gather(*(leave_at_random(tag) for tag in tags))
    served = [one for tag in tags for one in direct.served(tag)]
    assert len(served) > 100
    # The last has just left; an engine would need 4 s more by itself.
    await eventually(lambda: all(one.hung_up.is_set() for one in served), seconds=3)
    assert max(Counter(one.asked["tag"] for one in served).values()) == 1

    async def nothing_open() -> bool:
        return (await direct.metrics()).value("hotnode_streams_open") == 0

    await eventually_so(nothing_open, every_s=0.05)
    # One more than before may be the connection that asks for the metrics.
    await eventually(lambda: open_files(gateway) <= before + 2)
    assert await direct.ended(direct.begin(tokens=3)) == "whole"
