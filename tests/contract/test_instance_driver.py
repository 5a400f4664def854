"""What everybody may rely on who holds an `InstanceDriver`, whatever is behind it.

A driver joins by a `World` of its own in `WORLDS`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from compute_functions.contract import FOR_BATCHES
from compute_functions.drivers import InstanceDriver, Job, JobState
from compute_functions.errors import DriverFailed, SubmissionRefused
from compute_functions.orders import Order, new_name
from lab.slurm.cluster import slurm_cluster
from lab.system.packages import PackageMissing
from tests.support import slurm_site
from tests.support.eventually import eventually_so
from tests.support.scheduler_in_memory import SchedulerInMemory
from tests.support.slurm_driver import DriverSite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


class World(Protocol):
    """Two nodes with four GPUs each, and nothing that runs when a test begins."""

    def driver(self) -> InstanceDriver:
        """Return a driver that knows nothing of any other."""
        ...

    def unreachable(self) -> AbstractAsyncContextManager[InstanceDriver]:
        """Lend a driver whose scheduler is away."""
        ...


class RealSlurm:
    """The provider driver on a cluster of the lab."""

    def __init__(self, site: DriverSite) -> None:
        self._site = site

    def driver(self) -> InstanceDriver:
        return self._site.driver()

    @asynccontextmanager
    async def unreachable(self) -> AsyncIterator[InstanceDriver]:
        nowhere = _nowhere(Path(self._site.cluster.environment()["SLURM_CONF"]))
        yield self._site.driver(SLURM_CONF=str(nowhere))


def _nowhere(configuration: Path) -> Path:
    """Return the same configuration, with a controller at whose port nobody listens."""
    text = re.sub(r"(?m)^SlurmctldPort=.*$", "SlurmctldPort=9", configuration.read_text())
    file = configuration.with_name("nowhere.conf")
    file.write_text(text)
    return file


@asynccontextmanager
async def real_slurm(folder: Path) -> AsyncIterator[World]:
    async with slurm_cluster(folder / "slurm", nodes=2, gpus=4) as cluster:
        yield RealSlurm(DriverSite(folder, cluster))


class InMemory:
    """The double, with which the agent is tested."""

    def __init__(self) -> None:
        self._scheduler = SchedulerInMemory(nodes=2, gpus=4)

    def driver(self) -> InstanceDriver:
        return self._scheduler.driver()

    @asynccontextmanager
    async def unreachable(self) -> AsyncIterator[InstanceDriver]:
        self._scheduler.faults.away = True
        try:
            yield self.driver()
        finally:
            self._scheduler.faults.away = False


@asynccontextmanager
async def in_memory(folder: Path) -> AsyncIterator[World]:
    yield InMemory()


WORLDS: dict[str, Callable[[Path], AbstractAsyncContextManager[World]]] = {
    "in memory": in_memory,
    "provider on Slurm": real_slurm,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=WORLDS)
async def running_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    try:
        async with WORLDS[request.param](tmp_path_factory.mktemp("world")) as running:
            yield running
    except PackageMissing as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(loop_scope="module")
async def world(running_world: World) -> AsyncIterator[World]:
    yield running_world
    driver = running_world.driver()
    await driver.cancel([job.job_id for job in await driver.jobs()])
    await until(driver, lambda jobs: not jobs)


def an_order(*, gpus: int = 1) -> Order:
    return slurm_site.order(new_name(slurm_site.MODEL), gpus=gpus)


async def until(driver: InstanceDriver, so: Callable[[dict[str, Job]], object]) -> dict[str, Job]:
    """Return all jobs, by instance, once that is so of them."""
    seen: dict[str, Job] = {}

    async def is_so() -> object:
        seen.clear()
        seen.update({job.instance: job for job in await driver.jobs()})
        return so(seen)

    await eventually_so(is_so, seconds=30, every_s=0.1)
    return seen


def runs(*orders: Order) -> Callable[[dict[str, Job]], bool]:
    return lambda jobs: all(
        order.instance in jobs and jobs[order.instance].state is JobState.RUNNING
        for order in orders
    )


@pytest.mark.parametrize("purpose", ["", FOR_BATCHES])
async def test_what_was_submitted_is_listed_as_what_it_is(world: World, purpose: str) -> None:
    driver, order = world.driver(), replace(an_order(), purpose=purpose)

    job_id = await driver.submit(order)

    (job,) = await driver.jobs()
    assert (job.job_id, job.instance, job.model) == (job_id, order.instance, order.model)
    assert (job.generation, job.fence, job.purpose) == (order.generation, order.fence, purpose)
    assert job.limit_s == order.walltime_s


async def test_a_running_job_has_a_node_and_time_left(world: World) -> None:
    driver, order = world.driver(), an_order()
    await driver.submit(order)

    job = (await until(driver, runs(order)))[order.instance]

    assert len(job.nodes) == 1
    assert set(job.nodes) <= set((await driver.capacity()).nodes)
    assert job.left_s is not None
    assert 0 < job.left_s <= order.walltime_s
    assert job.reason == ""


async def test_another_driver_sees_and_ends_the_same_jobs(world: World) -> None:
    first, second, order = world.driver(), world.driver(), an_order()
    job_id = await first.submit(order)

    assert [job.job_id for job in await second.jobs()] == [job_id]
    await second.cancel([job_id])

    await until(first, lambda jobs: not jobs)


async def test_what_has_ended_can_be_cancelled_again(world: World) -> None:
    driver, order = world.driver(), an_order()
    job_id = await driver.submit(order)
    await driver.cancel([job_id])
    await until(driver, lambda jobs: not jobs)

    await driver.cancel([job_id])
    await driver.cancel([])

    assert await driver.jobs() == ()


async def test_only_what_was_named_is_cancelled(world: World) -> None:
    driver, goes, stays = world.driver(), an_order(), an_order()
    job_id = await driver.submit(goes)
    await driver.submit(stays)
    await until(driver, runs(goes, stays))

    await driver.cancel([job_id])

    await until(driver, lambda jobs: set(jobs) == {stays.instance})


async def test_no_job_lands_on_an_excluded_node(world: World) -> None:
    driver, order = world.driver(), an_order()
    first, second = sorted((await driver.capacity()).nodes)

    await driver.submit(order, exclude={first})

    assert (await until(driver, runs(order)))[order.instance].nodes == (second,)


async def test_a_full_cluster_lets_jobs_wait_and_says_why(world: World) -> None:
    driver, full, waits = world.driver(), [an_order(gpus=4) for _ in range(2)], an_order(gpus=4)
    for order in full:
        await driver.submit(order)
    await until(driver, runs(*full))
    await driver.submit(waits)

    job = (await until(driver, lambda jobs: jobs[waits.instance].reason))[waits.instance]

    assert job.state is JobState.PENDING
    assert job.nodes == ()
    assert (await driver.capacity()).free_gpus == 0
    assert (await driver.starts_in(an_order(gpus=4)) or 0) > 60


async def test_an_empty_cluster_has_all_its_gpus_and_starts_at_once(world: World) -> None:
    driver = world.driver()

    capacity = await driver.capacity()
    wait = await driver.starts_in(an_order())

    assert (capacity.gpus, capacity.free_gpus, capacity.down) == (8, 8, frozenset())
    assert wait is None or wait < 60
    assert await driver.jobs() == ()


async def test_a_job_that_fits_nowhere_is_refused_for_certain(world: World) -> None:
    driver = world.driver()

    with pytest.raises(SubmissionRefused):
        await driver.submit(an_order(gpus=5))
    assert await driver.jobs() == ()


async def test_a_scheduler_that_cannot_be_reached_has_refused_nothing(world: World) -> None:
    async with world.unreachable() as driver:
        with pytest.raises(DriverFailed) as caught:
            await driver.submit(an_order())
    assert not isinstance(caught.value, SubmissionRefused)
