"""The keeper driver's view of tasks that have no job yet, or never get one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compute_functions import site_config
from compute_functions.contract import FOR_BATCHES, JsonObject
from compute_functions.control import Control
from compute_functions.drivers import JobState
from compute_functions.drivers.keeper import ASK_EVERY_S, SETTLE_S, KeeperDriver
from compute_functions.drivers.provider import ProviderDriver
from compute_functions.errors import DriverFailed, SubmissionRefused
from compute_functions.site import SiteDirectory
from tests.support.engine_doubles import registration
from tests.support.slurm_site import order, site_yaml, write_site


class TasksThatWait:
    """Takes tasks; those in `over` have ended."""

    def __init__(self) -> None:
        self.sent: list[tuple[JsonObject, dict[str, Any]]] = []
        self.over: set[str] = set()

    async def submit(self, wire: JsonObject, options: Mapping[str, Any]) -> str:
        self.sent.append((wire, dict(options)))
        return f"t{len(self.sent)}"

    async def ended(self, task_ids: Collection[str]) -> set[str]:
        return self.over & set(task_ids)


class TasksWithoutService:
    """Globus Compute cannot be reached."""

    async def submit(self, wire: JsonObject, options: Mapping[str, Any]) -> str:
        raise DriverFailed("Globus Compute: no route")

    async def ended(self, task_ids: Collection[str]) -> set[str]:
        raise DriverFailed("Globus Compute: no route")


class TasksThatAreRefused(TasksThatWait):
    """Globus Compute takes none."""

    async def submit(self, wire: JsonObject, options: Mapping[str, Any]) -> str:
        raise SubmissionRefused("Globus Compute: 403")


class Clock:
    """Stands still until it is set."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def site(tmp_path: Path) -> SiteDirectory:
    programs = tmp_path / "programs"
    programs.mkdir()
    # Slurm without a single job.
    (programs / "squeue").write_text("#!/bin/sh\n")
    (programs / "squeue").chmod(0o755)
    return write_site(tmp_path, site_yaml(tmp_path))


def keeper(site: SiteDirectory, tasks: Any, clock: Clock) -> KeeperDriver:
    environment = {"PATH": f"{site.root.parent / 'programs'}:/usr/bin:/bin"}
    slurm = ProviderDriver(site, site_config.load(site), environment=environment)
    return KeeperDriver(site, slurm, tasks, clock=clock)


async def test_a_task_asks_for_a_block_of_its_size(site: SiteDirectory) -> None:
    tasks, asked = TasksThatWait(), order(gpus=2, walltime_s=90, hot=True)

    assert await keeper(site, tasks, Clock()).submit(asked) == "task:t1"
    assert tasks.sent == [
        (
            {"v": 1, "instance": asked.instance},
            {"role": "blocks", "gpus": 2, "walltime_minutes": 2, "hot": True},
        )
    ]


async def test_a_task_waits_for_its_block_across_restarts(site: SiteDirectory) -> None:
    asked = replace(order(), purpose=FOR_BATCHES)
    await keeper(site, TasksThatWait(), Clock()).submit(asked)

    (job,) = await keeper(site, TasksThatWait(), Clock()).jobs()

    assert (job.job_id, job.instance, job.state) == ("task:t1", asked.instance, JobState.PENDING)
    assert (job.reason, job.submitted_at) == ("waits for a block", Clock.now)
    assert (job.generation, job.fence, job.purpose) == (asked.generation, asked.fence, FOR_BATCHES)


async def test_a_task_that_failed_is_no_job(site: SiteDirectory) -> None:
    tasks, clock = TasksThatWait(), Clock()
    driver = keeper(site, tasks, clock)
    await driver.submit(order())
    assert len(await driver.jobs()) == 1

    tasks.over = {"t1"}
    clock.now += ASK_EVERY_S

    assert await driver.jobs() == ()


async def test_without_the_service_what_is_known_stays_known(site: SiteDirectory) -> None:
    await keeper(site, TasksThatWait(), Clock()).submit(order())

    (job,) = await keeper(site, TasksWithoutService(), Clock()).jobs()

    assert job.job_id == "task:t1"


async def test_a_task_that_was_perhaps_not_taken_is_forgotten_in_time(
    site: SiteDirectory,
) -> None:
    clock = Clock()
    driver = keeper(site, TasksWithoutService(), clock)
    with pytest.raises(DriverFailed, match="no route"):
        await driver.submit(order())
    assert len(await driver.jobs()) == 1

    clock.now += SETTLE_S + 1

    assert await driver.jobs() == ()


async def test_a_task_that_was_refused_leaves_nothing(site: SiteDirectory) -> None:
    driver = keeper(site, TasksThatAreRefused(), Clock())

    with pytest.raises(SubmissionRefused):
        await driver.submit(order())

    assert await driver.jobs() == ()


async def test_a_cancelled_task_is_told_to_drain_should_it_begin(site: SiteDirectory) -> None:
    driver, asked = keeper(site, TasksThatWait(), Clock()), order()
    job_id = await driver.submit(asked)

    await driver.cancel([job_id])

    assert await driver.jobs() == ()
    told = Control.read(site, asked.instance)
    assert told is not None
    assert told.drain


async def test_an_instance_that_begins_while_the_service_is_asked_is_not_lost(
    site: SiteDirectory,
) -> None:
    """Its block came into Slurm's queue, and it registered, after the look had begun."""

    class TasksDuringWhichOneBegins(TasksThatWait):
        async def ended(self, task_ids: Collection[str]) -> set[str]:
            line = f"7|RUNNING|gpu|n1|1:00|N/A|1:00|None|N/A|N/A|{site.root}|"
            squeue = site.root.parent / "programs" / "squeue"
            squeue.write_text(f"#!/bin/sh\necho '{line}'\n")
            begun = registration(site, "/x", job_id="7")
            replace(begun, name=asked.instance).write(site)
            return set()

    asked = replace(order(), purpose=FOR_BATCHES)
    driver = keeper(site, TasksDuringWhichOneBegins(), Clock())
    await driver.submit(asked)

    (job,) = await driver.jobs()
    assert job.purpose == FOR_BATCHES
    assert (job.job_id, job.state, job.nodes) == ("7", JobState.RUNNING, ("n1",))
    assert await driver.jobs() == (job,)


async def test_one_that_a_list_misses_is_not_forgotten_before_the_next(
    site: SiteDirectory,
) -> None:
    squeue = site.root.parent / "programs" / "squeue"
    line = f"7|RUNNING|gpu|n1|1:00|N/A|1:00|None|N/A|N/A|{site.root}|"
    listing, empty = f"#!/bin/sh\necho '{line}'\n", "#!/bin/sh\n"
    driver, asked = keeper(site, TasksThatWait(), Clock()), order()
    await driver.submit(asked)
    replace(registration(site, "/x", job_id="7"), name=asked.instance).write(site)

    async def listed(text: str) -> list[str]:
        squeue.write_text(text)
        return [job.job_id for job in await driver.jobs()]

    assert await listed(listing) == ["7"]
    assert await listed(empty) == []
    assert await listed(listing) == ["7"]
    # Two in a row: it has ended.
    assert await listed(empty) == []
    assert await listed(empty) == []
    assert await listed(listing) == []


async def test_a_control_file_that_is_broken_hides_no_task(site: SiteDirectory) -> None:
    driver, asked = keeper(site, TasksThatWait(), Clock()), order()
    await driver.submit(asked)
    Control.file(site, asked.instance).write_text("{")

    assert len(await driver.jobs()) == 1


async def test_a_broken_note_hides_no_other(site: SiteDirectory) -> None:
    driver = keeper(site, TasksThatWait(), Clock())
    await driver.submit(order())
    (site.agent / "keepers" / "a.json").write_text("{")

    assert len(await driver.jobs()) == 1
