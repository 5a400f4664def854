"""`/metrics` of a gateway of several processes: the sum, whichever process answers."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.eventually import eventually_so
from tests.support.gateway_processes import Processes
from tests.support.watch import Scrape

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


async def answered(processes: Processes) -> float:
    """Return how many requests were answered, as the metrics have it."""
    page = await Scrape.of(processes.running.url)
    return sum(
        value
        for labels, value in page.series("hotnode_requests_total")
        if labels["status"] == "200"
    )


async def counted(processes: Processes, number: float) -> None:
    """Wait until so many were counted: that happens after the answer."""

    async def so_many() -> bool:
        return await answered(processes) == number

    await eventually_so(so_many)


async def test_every_process_is_in_what_any_of_them_shows(processes: Processes) -> None:
    before = await answered(processes)
    await asyncio.gather(*(processes.ask(n=n) for n in range(20)))
    await counted(processes, before + 20)
    # Each reading is on a connection of its own, so that either web process answers some.
    assert {await answered(processes) for _ in range(8)} == {before + 20}


async def test_the_hub_is_in_it_though_it_serves_no_http(processes: Processes) -> None:
    await processes.ask(n=1)

    async def connected() -> bool:
        page = await Scrape.of(processes.running.url)
        return page.value("hotnode_globus_link", state="connected") == 1

    await eventually_so(connected)


async def test_what_a_process_counted_outlives_it(processes: Processes) -> None:
    before = await answered(processes)
    await asyncio.gather(*(processes.ask(n=n) for n in range(8)))
    await counted(processes, before + 8)
    await processes.kill("web-1")
    await counted(processes, before + 8)
    await asyncio.gather(*(processes.ask(n=n) for n in range(8)))
    await counted(processes, before + 16)
