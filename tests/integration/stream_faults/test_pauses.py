"""An engine pauses for longer than anybody waits for a byte; all ways of a stream at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.support.direct_plant import DirectPlant, direct_plant
from tests.support.faults import COMMENT, Plant, Streams
from tests.support.local_globus import LocalGlobus
from tests.support.push_plant import PushPlant, push_plant, push_site
from tests.support.slow_reader import SlowReader

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(200)]

#: Also longer than a hub takes for the end of a connection on which nothing comes.
PAUSE_S = 90


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pushed(globus: LocalGlobus) -> AsyncIterator[PushPlant]:
    async with push_site(globus) as site, push_plant(site) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def direct(globus: LocalGlobus) -> AsyncIterator[DirectPlant]:
    async with direct_plant(globus) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def linked(shared: Plant) -> AsyncIterator[Plant]:
    async with shared.relay.running():
        await shared.linked()
        yield shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pauses(
    linked: Plant, pushed: PushPlant, direct: DirectPlant
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Have all engines pause at the same time; each test waits for one of them."""
    async with AsyncExitStack() as stack:
        cases: dict[str, Coroutine[None, None, None]] = {
            "relay": beside_a_slow_reader(linked, 3000, {"whole", "cut"}),
            "push": waited_for(pushed),
            "direct": beside_a_slow_reader(direct, 300, {"whole"}),
        }
        tasks = {name: asyncio.create_task(case, name=name) for name, case in cases.items()}
        stack.push_async_callback(asyncio.wait, tasks.values())
        for task in tasks.values():
            stack.callback(task.cancel)
        yield tasks


async def waited_for(plant: Streams) -> None:
    reading = plant.begin(tokens=6, pause_at=4)
    await reading.until(b'"n":3,')
    await asyncio.sleep(PAUSE_S)
    plant.engine.go.set()
    assert await plant.ended(reading) == "whole"
    assert bytes(reading.body).count(COMMENT) >= 5


async def beside_a_slow_reader(plant: Streams, tokens: int, ends: set[str]) -> None:
    """Meanwhile a client reads a byte a second: it gets everything as well, or may be cut."""
    async with SlowReader("slow") as slow:
        reading = plant.begin(tokens=6, pause_at=4)
        await reading.until(b'"n":3,')
        await slow.ask(plant, tokens=tokens, pad=2000)
        await slow.read_slowly(PAUSE_S)
        plant.engine.go.set()
        assert await plant.ended(reading) == "whole"
        assert bytes(reading.body).count(COMMENT) >= 5
        slowest = await slow.read_rest()
        assert slowest.judged(plant.said(slowest)) in ends


@pytest.mark.row("U-14")
@pytest.mark.parametrize("way", ["relay", "push", "direct"])
async def test_an_engine_that_pauses_for_ninety_seconds_is_waited_for(
    pauses: dict[str, asyncio.Task[None]], way: str
) -> None:
    await pauses[way]
