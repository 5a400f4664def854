"""Clients that read slowly, and clients that leave."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from tests.support.eventually import eventually, eventually_so
from tests.support.faults import DONE, Plant
from tests.support.process_table import open_files
from tests.support.slow_reader import SlowReader

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(150)]


async def leave_at_random(whole: Plant, chance: random.Random, tag: str) -> None:
    async with await whole.raw(tag=tag, tokens=200, every_s=0.02) as client:
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0.0, 3.0)):
                await client.read_until(DONE)


@pytest.mark.row("C-63")
async def test_two_hundred_clients_who_leave_stop_the_engine_and_leave_nothing(
    whole: Plant,
) -> None:
    chance = random.Random(7)  # noqa: S311 - the same moments each time, as far as that goes
    await whole.ended(whole.begin(tokens=3))
    gateway = whole.gateway.process.pid
    before = open_files(gateway)
    tags = [f"leaver-{n}" for n in range(200)]
    await asyncio.gather(*(leave_at_random(whole, chance, tag) for tag in tags))

    def running() -> list[str]:
        served = [one for tag in tags for one in whole.served(tag)]
        return [one.path for one in served if not (one.hung_up.is_set() or one.done.is_set())]

    # The last has just left. How soon is for a benchmark; an engine would need 4 s more by itself.
    await eventually(lambda: not running(), seconds=3)
    ended = [one for tag in tags for one in whole.served(tag)]
    assert len(ended) > 100
    assert all(one.hung_up.is_set() for one in ended)

    async def nothing_open() -> bool:
        page = await whole.metrics()
        on_links = sum(value for _, value in page.series("hotnode_relay_requests"))
        return page.value("hotnode_streams_open") == 0 and on_links == 0

    await eventually_so(nothing_open, every_s=0.05)
    # One more than before may be the connection that asks for the metrics.
    await eventually(lambda: open_files(gateway) <= before + 2)
    assert await whole.ended(whole.begin(tokens=3)) == "whole"


async def test_a_client_that_reads_a_byte_a_second_harms_nobody(whole: Plant) -> None:
    # More than the sockets of all the hops hold: the kernel gives each up to 10 MB.
    tokens, pad = 20_000, 2_000
    async with SlowReader("slow") as slow:
        await slow.ask(whole, tokens=tokens, pad=pad)
        await slow.read_slowly(5)
        readings = [whole.begin(tokens=100, every_s=0.01, pad=500) for _ in range(20)]
        await slow.read_slowly(5)
        assert [await whole.ended(reading) for reading in readings] == ["whole"] * 20
        # The engine is held back, by what the client has not read.
        assert len(whole.served("slow")[0].said) < tokens * pad / 2
        reading = await slow.read_rest()
    assert reading.judged(whole.said(reading)) == "whole"
