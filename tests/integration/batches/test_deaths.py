"""Controllers that die at any moment, and two at once: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from contextlib import suppress

import pytest
from typing_extensions import override

from compute_functions.contract import JsonObject
from compute_functions.contract.batches import BatchVerb
from resource_server.domain import errors
from resource_server.domain.batches import Batch, BatchStatus
from resource_server.domain.catalog import Cluster
from resource_server.domain.files import Purpose
from resource_server.domain.paging import file_paging
from resource_server.domain.site_functions import SiteFunction
from resource_server.services.batch_duties import BatchDuty
from resource_server.store.batches import BatchRows
from resource_server.store.files import FileRows
from tests.support.batch_orders import BatchSite, lines
from tests.support.batch_plant import (
    ALICE,
    BatchPlant,
    SiteInThisProcess,
    at_work,
    is_settled,
    tenure,
)
from tests.support.eventually import eventually, eventually_so
from tests.support.killing import Death, Killed, Mortal

OUTPUT = b'{"custom_id":"line-0"}\n{"custom_id":"line-2"}\n'
ERRORS = b'{"line-1":0}\n'
INPUT = lines()
#: Looks go on all the time, and change nothing.
LOOKS = frozenset({"clusters", "urgent", "live"})
#: What is done for one batch, and how often at least: it is ordered and sent, a report is asked
#: for, two results are fetched, it is forgotten at the site.
ACTS = Counter(call=6, save=4, piece=1, arrived=2, put=2, finish=2)
#: One moment is before and one after each act. Right after an act is right before the next one, so
#: that those before will do: a batch cannot be over without them.
MOMENTS = range(1, 2 * ACTS.total(), 2)


class SiteThatWorks(SiteInThisProcess):
    """Has each batch done by the time that it is asked about it."""

    def __init__(self, site: BatchSite) -> None:
        super().__init__()
        self._site = site

    @override
    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        if wire.get("verb") == BatchVerb.REPORT:
            for batch in wire["batches"]:
                folder = self._site.folder(batch)
                if folder.input.exists() and not folder.outcome.exists():
                    self._site.finish(batch)
        return await super().call(cluster, function, wire)


class SiteThatHoldsBack(SiteThatWorks):
    """Holds back one call, until it is told to let it through."""

    def __init__(self, site: BatchSite, held: str) -> None:
        super().__init__(site)
        self._held = held
        self.came, self.let = asyncio.Event(), asyncio.Event()

    @override
    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        if _name(wire) == self._held and not self.came.is_set():
            self.came.set()
            await self.let.wait()
        return await super().call(cluster, function, wire)


def _name(wire: JsonObject) -> str:
    if "verb" in wire:
        return str(wire["verb"])
    return "get" if wire["content"] is None else "put"


class TenureThatKnowsNoEnd:
    """Believes for ever that it goes on, as a process that was stopped and has just woken up."""

    def __init__(self, fence: int) -> None:
        self.fence = fence

    def require(self) -> None:
        return


async def settled(plant: BatchPlant, batch: Batch) -> None:
    async def is_() -> bool:
        return is_settled(await plant.batch(batch.id))

    await eventually_so(is_, every_s=0.02)


async def require_whole(plant: BatchPlant, site: BatchSite, batch: Batch) -> None:
    """Assert that all is as if nobody had ever died."""
    found = await plant.batch(batch.id)
    assert found.status is BatchStatus.COMPLETED
    assert found.output_file_id
    assert found.error_file_id
    assert await plant.content(found.output_file_id) == OUTPUT
    assert await plant.content(found.error_file_id) == ERRORS
    page = await plant.files.list(ALICE, file_paging(), Purpose.BATCH_OUTPUT)
    assert {one.id for one in page.items} == {found.output_file_id, found.error_file_id}
    assert not site.folder(batch.id).path.exists()
    assert site.spool.tombstone(batch.id).exists()
    assert list((plant.root / "incoming").iterdir()) == []


async def live(plant: BatchPlant, duty: BatchDuty, batches: Collection[Batch]) -> None:
    """Have a duty done until it dies, or nothing is left to do for any batch."""
    task = asyncio.create_task(duty.perform(await tenure()))

    async def over() -> bool:
        return task.done() or all([is_settled(await plant.batch(one.id)) for one in batches])

    await eventually_so(over, every_s=0.02)
    task.cancel()
    with suppress(asyncio.CancelledError, Killed):
        await task


async def run_until_dead(plant: BatchPlant, site: BatchSite, batch: Batch, death: Death) -> None:
    """Have one controller see to the batch until it dies, or the batch is over."""
    duty = plant.duty(
        Mortal(SiteThatWorks(site), death),
        table=Mortal(BatchRows(), death),
        disk=Mortal(plant.disk, death),
    )
    await live(plant, duty, (batch,))


@pytest.mark.parametrize("any_database", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("any_database")
async def test_a_life_is_as_long_as_the_next_test_counts(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch, death = await plant.created(INPUT), Death(idle=LOOKS)
    await run_until_dead(plant, site, batch, death)
    await require_whole(plant, site, batch)
    begun = Counter(death.moments)
    # Right after the last one the batch is over, and its controller may be taken away.
    assert begun.keys() == ACTS.keys()
    assert all((begun[act] + 1) // 2 >= count for act, count in ACTS.items())


@pytest.mark.row("C-26")
@pytest.mark.parametrize("any_database", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("any_database")
@pytest.mark.parametrize("moment", MOMENTS)
async def test_whenever_a_controller_dies_the_next_one_goes_on(
    plant: BatchPlant, site: BatchSite, moment: int
) -> None:
    batch, death = await plant.created(INPUT), Death(moment, idle=LOOKS)
    await run_until_dead(plant, site, batch, death)
    assert death.came
    assert not is_settled(await plant.batch(batch.id))
    async with at_work(plant.duty(SiteThatWorks(site))):
        await settled(plant, batch)
    await require_whole(plant, site, batch)


@pytest.mark.usefixtures("any_database")
@pytest.mark.parametrize("held", ["submit", "put", "report", "get", "forget"])
async def test_a_controller_that_wakes_up_late_changes_nothing(
    plant: BatchPlant, site: BatchSite, held: str
) -> None:
    batch, calls = await plant.created(INPUT), SiteThatHoldsBack(site, held)
    first = TenureThatKnowsNoEnd((await tenure()).fence)
    asleep = asyncio.create_task(plant.duty(calls).perform(first))
    async with asyncio.timeout(20):
        await calls.came.wait()
    async with at_work(plant.duty(SiteThatWorks(site))):
        await settled(plant, batch)
        before = await plant.batch(batch.id)
        calls.let.set()
        await eventually(asleep.done)
        with pytest.raises(errors.LeaseLost):
            await asleep
        assert await plant.batch(batch.id) == before
    # What came too late may have left a part; what has no row goes with the next sweep.
    for part in (plant.root / "incoming").iterdir():
        part.unlink()
    await require_whole(plant, site, batch)


@pytest.mark.usefixtures("any_database")
async def test_many_batches_of_many_people_with_deaths_in_between(
    plant: BatchPlant, site: BatchSite
) -> None:
    batches = [await plant.created(lines(count)) for count in range(1, 5)]

    async def over() -> bool:
        return all([is_settled(await plant.batch(one.id)) for one in batches])

    moment, deaths = 5, 0
    while not await over():
        death = Death(moment, idle=LOOKS)
        duty = plant.duty(Mortal(SiteThatWorks(site), death), table=Mortal(BatchRows(), death))
        await live(plant, duty, batches)
        moment += 7
        deaths += death.came
    # So many moments do not see all batches through.
    assert deaths >= 3
    for one in batches:
        await require_whole_one(plant, one)


async def require_whole_one(plant: BatchPlant, batch: Batch) -> None:
    found = await plant.batch(batch.id)
    assert found.status is BatchStatus.COMPLETED
    assert found.output_file_id is not None
    assert await plant.content(found.output_file_id) == OUTPUT
    assert await FileRows().known([found.output_file_id, "file-none"]) == {found.output_file_id}
