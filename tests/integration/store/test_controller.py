"""One controller of several is active, by a lease in the database; each write states its number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from resource_server.domain.errors import LeaseLost
from resource_server.services.controller import Controller
from resource_server.store.catalog import replace_yaml_rows
from resource_server.store.database import in_database
from resource_server.store.lease import LeaseTable
from resource_server.store.models import ClusterRow, ControllerLease
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("any_database")

LONG_S, SHORT_S = 300.0, 0.3


class FilesThatAreRead:
    """A catalog's source that notes under which number it was read."""

    def __init__(self) -> None:
        self.fences: list[int] = []

    async def sync(self, fence: int) -> bool:
        self.fences.append(fence)
        return False


class NoFiles:
    """Documents that describe nothing."""

    sites = models = projects = ()


def controller(name: str, source: FilesThatAreRead, *, term_s: float = SHORT_S) -> Controller:
    return Controller(LeaseTable(name, term_s=term_s), source, term_s=term_s, every_s=0.01)


@asynccontextmanager
async def running(*controllers: Controller) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(one.run()) for one in controllers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def expire() -> None:
    """Let the lease run out, as when its holder has been silent for a term."""
    await in_database(lambda: ControllerLease.objects.update(expires_at="2020-01-01T00:00Z"))


async def test_of_many_at_once_one_gets_the_lease():
    answers = await asyncio.gather(
        *(LeaseTable(f"c{n}", term_s=LONG_S).acquire() for n in range(8))
    )
    assert sorted(answer for answer in answers if answer is not None) == [1]


async def test_a_lease_that_is_renewed_is_nobody_else_s():
    holder, other = LeaseTable("a", term_s=LONG_S), LeaseTable("b", term_s=LONG_S)
    fence = await holder.acquire()
    assert fence == 1
    await holder.renew(fence)
    assert await other.acquire() is None


async def test_a_silent_holder_loses_it_and_hears_so():
    silent, other = LeaseTable("a", term_s=LONG_S), LeaseTable("b", term_s=LONG_S)
    old = await silent.acquire()
    assert old is not None
    await expire()
    assert await other.acquire() == old + 1
    with pytest.raises(LeaseLost):
        await silent.renew(old)


async def test_a_holder_that_was_slow_but_not_replaced_goes_on():
    slow = LeaseTable("a", term_s=LONG_S)
    fence = await slow.acquire()
    assert fence is not None
    await expire()
    await slow.renew(fence)
    assert await LeaseTable("b", term_s=LONG_S).acquire() is None


async def test_a_lease_that_is_given_back_is_free_at_once():
    first, second = LeaseTable("a", term_s=LONG_S), LeaseTable("b", term_s=LONG_S)
    fence = await first.acquire()
    assert fence is not None
    await first.release(fence)
    assert await second.acquire() == fence + 1


async def test_who_was_given_up_for_dead_writes_nothing_more():
    old = await LeaseTable("a", term_s=LONG_S).acquire()
    row = ClusterRow(name="c", origin="yaml", spec={})
    await in_database(row.save)
    await expire()
    new = await LeaseTable("b", term_s=LONG_S).acquire()
    with pytest.raises(LeaseLost):
        await in_database(replace_yaml_rows, NoFiles(), old)
    assert await in_database(ClusterRow.objects.count) == 1
    assert await in_database(replace_yaml_rows, NoFiles(), new)
    assert await in_database(ClusterRow.objects.count) == 0


async def test_a_second_controller_waits_until_the_first_one_stops():
    first, second = FilesThatAreRead(), FilesThatAreRead()
    one, other = controller("a", first), controller("b", second)
    await one.start()
    await other.start()
    assert (one.fence, other.fence) == (1, None)
    async with running(one, other) as (task, _):
        await eventually(lambda: len(first.fences) > 3)
        assert second.fences == []
        task.cancel()
        await eventually(lambda: second.fences)
    assert set(second.fences) == {2}


async def test_a_second_controller_takes_over_from_one_that_is_silent():
    silent, source = LeaseTable("a", term_s=SHORT_S), FilesThatAreRead()
    assert await silent.acquire() == 1
    async with running(controller("b", source)):
        await eventually(lambda: source.fences)
    assert set(source.fences) == {2}


async def test_who_lost_the_lease_stops_working_and_waits_for_it():
    source = FilesThatAreRead()
    one = controller("a", source)
    await one.start()
    async with running(one):
        thief = LeaseTable("b", term_s=LONG_S)
        # It may be renewed in between.
        while (stolen := await thief.acquire()) is None:
            await expire()
        await eventually(lambda: one.fence is None)
        await thief.release(stolen)
        await eventually(lambda: source.fences[-1] == stolen + 1)
