"""The way between gateway and engine breaks, or its parts die, while streams run."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from typing import Any

import pytest

from tests.support.faults import Plant, plant
from tests.support.local_globus import LocalGlobus

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest.mark.row("A-35", "U-12", "C-63")
async def test_a_link_that_is_cut_again_and_again_costs_no_token(whole: Plant) -> None:
    chance = random.Random(4)  # noqa: S311 - the same moments each time, as far as that goes
    readings = [
        whole.begin(tokens=100, every_s=0.02, pad=chance.randrange(2000)) for _ in range(20)
    ]
    for reading in readings:
        await reading.until(b'"n":1,')
    cuts = whole.wire.cuts
    while not all(reading.task is None or reading.task.done() for reading in readings):
        whole.wire.cut()
        await asyncio.sleep(chance.uniform(0.3, 0.6))
    assert [await whole.ended(reading) for reading in readings] == ["whole"] * 20
    assert whole.wire.cuts > cuts + 2
    page = await whole.metrics()
    assert page.value("hotnode_streams_open") == 0


async def test_a_link_that_stays_away_for_a_while_costs_no_token(whole: Plant) -> None:
    reading = whole.begin(tokens=50, every_s=0.05)
    await reading.until(b'"n":5,')
    whole.wire.down = True
    whole.wire.cut()
    came = len(reading.body)
    # Longer than the engine needs for the rest.
    async with asyncio.timeout(20):
        await whole.served(reading.tag)[0].done.wait()
    assert len(reading.body) <= came + 1000
    whole.wire.down = False
    assert await whole.ended(reading) == "whole"


async def test_a_relay_that_is_killed_ends_its_streams_honestly(shared: Plant) -> None:
    async with shared.relay.running() as relay:
        await shared.linked()
        readings = [shared.begin(tokens=1000, every_s=0.02) for _ in range(20)]
        for reading in readings:
            await reading.until(b'"n":3,')
        os.kill(relay.pid, signal.SIGKILL)
        # The engine is hung up on by the kernel; the hub waits for the relay to come back.
        async with asyncio.timeout(20):
            await asyncio.gather(
                *(shared.served(reading.tag)[0].hung_up.wait() for reading in readings)
            )
    await shared.linked(0)
    assert not any(reading.task is None or reading.task.done() for reading in readings)
    # The next one of the instance is another process: what the first had is lost, and said so.
    gone = told(shared, "relay_gone")
    async with shared.relay.running():
        await shared.linked()
        ends = Counter([await shared.ended(reading, seconds=60) for reading in readings])
        assert ends == {"error": 20}
        assert {reading.error["code"] for reading in readings} == {"backend_interrupted"}
        [line] = told(shared, "relay_gone")[len(gone) :]
        # Not for the time that a cut link is waited for.
        assert line["reason"] == "another process of its relay has linked"
        again = shared.begin(tokens=3)
        assert await shared.ended(again) == "whole"


def told(plant: Plant, event: str) -> list[dict[str, Any]]:
    """Return the lines of the gateway's log about an event."""
    text = plant.gateway.process.command.log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def test_a_relay_that_is_stopped_ends_its_streams_at_once(shared: Plant) -> None:
    async with shared.relay.running() as relay:
        await shared.linked()
        reading = shared.begin(tokens=1000, every_s=0.05)
        await reading.until(b'"n":3,')
        relay.terminate()
        # Well within the half minute that a link which was cut is waited for.
        assert await shared.ended(reading, seconds=15) == "error"


async def test_a_gateway_that_is_killed_ends_its_streams_honestly(globus: LocalGlobus) -> None:
    async with plant(globus) as running, running.relay.running():
        await running.linked()
        readings = [running.begin(tokens=1000, every_s=0.02) for _ in range(20)]
        for reading in readings:
            await reading.until(b'"n":3,')
        os.killpg(running.gateway.process.pid, signal.SIGKILL)
        assert [await running.ended(reading) for reading in readings] == ["cut"] * 20
