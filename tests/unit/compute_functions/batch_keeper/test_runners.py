"""Runners whose disk hangs while they begin: nobody waits for it, and no process is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from batch.commands.run import DISK, RESUME
from compute_functions import engine_process
from compute_functions.batch_keeper.assignments import Assignments
from compute_functions.batch_keeper.runner_command import Target
from compute_functions.batch_keeper.runners import NOT_STARTED, Runners
from compute_functions.batch_keeper.working import Run, Working
from compute_functions.batch_spool import fate
from compute_functions.contract.relay import EngineLoad
from compute_functions.instance_job.batch_allowance import BatchAllowance
from compute_functions.instance_job.batch_runs import BatchRuns, Place
from compute_functions.site import VARIABLE
from tests.support.batch_orders import BatchSite, batch_site, lines, order, sum_of
from tests.support.eventually import eventually, soon
from tests.support.hanging_file import HangingFile

BATCH, INSTANCE = "batch_00000001", "tiny-1"
#: Nobody listens there: a runner waits for it, for a while.
SILENT = Target(endpoint="http://127.0.0.1:9")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    made = batch_site(tmp_path)
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    made.taken(order(BATCH, upload=sum_of(lines())))
    made.upload(lines())
    assert fate.begin(made.folder(), now=1.0)
    return made


class TargetThatSaysSo:
    """The target of runners; it is asked for when an order was read."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def __call__(self) -> Target:
        self.asked.set()
        return SILENT


@dataclass(slots=True)
class Plant:
    """Runners of one process, and how they were asked for."""

    runners: Runners
    target: TargetThatSaysSo

    async def status(self) -> int:
        """Wait for the end of the one runner, and return its status."""
        await eventually(lambda: self.runners.runs[0].status is not None, seconds=60)
        return self.runners.runs[0].status or 0


@pytest.fixture
async def plant(site: BatchSite) -> AsyncIterator[Plant]:
    target = TargetThatSaysSo()
    made = Plant(Runners(site.spool, target=target, changed=lambda: None), target)
    yield made
    await made.runners.close()


async def test_one_that_is_told_to_leave_before_it_began_never_begins(
    site: BatchSite, plant: Plant
) -> None:
    hanging = HangingFile.at(site.folder().order)
    plant.runners.begin(BATCH, 1)
    assert plant.runners.has(BATCH, 1)
    plant.runners.leave(BATCH)
    assert plant.runners.runs == (Run(batch=BATCH, epoch=1, pid=0),)
    with hanging.let_go():
        assert await plant.status() == RESUME
    assert plant.runners.runs[0].pid == 0
    assert not plant.target.asked.is_set()


async def test_one_that_is_told_to_leave_while_it_begins_leaves(
    site: BatchSite, plant: Plant
) -> None:
    hanging = HangingFile.at(site.folder().log)
    plant.runners.begin(BATCH, 1)
    async with asyncio.timeout(20):
        await plant.target.asked.wait()
    plant.runners.leave_all()
    with hanging.let_go():
        assert await plant.status() in {RESUME, -signal.SIGTERM}
    assert plant.runners.runs[0].pid > 0


@pytest.mark.parametrize("hangs", ["order.json", "runner.log"])
async def test_the_end_of_the_process_waits_for_no_disk(
    site: BatchSite, plant: Plant, hangs: str
) -> None:
    hanging = HangingFile.at(site.folder().path / hangs)
    plant.runners.begin(BATCH, 1)
    if hangs == "runner.log":
        async with asyncio.timeout(20):
            await plant.target.asked.wait()
    async with asyncio.timeout(5):
        await plant.runners.close()
    # What waited goes on in its thread, and begins nothing.
    with hanging.let_go():
        await asyncio.get_running_loop().shutdown_default_executor()
    assert plant.runners.runs[0].status is None
    assert plant.runners.active == 0
    assert site.folder().highest_epoch() == 0


async def test_a_disk_that_fails_is_told_as_such_and_a_damaged_order_is_not(
    site: BatchSite, plant: Plant
) -> None:
    file = site.folder().order
    content = file.read_bytes()
    file.unlink()
    file.mkdir()
    plant.runners.begin(BATCH, 1)
    assert await plant.status() == DISK
    file.rmdir()
    file.write_bytes(content[:-1])
    plant.runners.begin(BATCH, 2)
    assert await plant.status() == NOT_STARTED
    file.write_bytes(content)
    site.folder().log.mkdir()
    plant.runners.begin(BATCH, 3)
    assert await plant.status() == DISK


class RunnersThatDoNotEnd:
    """Runners that are stopped when they begin, and whose kill takes its time."""

    def __init__(self, site: BatchSite, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine_process, "KILL_TIMEOUT_S", 0.0)
        self.began = asyncio.Event()
        self.runners = Runners(site.spool, target=Target, changed=self._stop, silent_s=0.0)

    def _stop(self) -> None:
        (run,) = self.runners.runs
        if run.pid and run.status is None:
            os.kill(run.pid, signal.SIGSTOP)
            self.began.set()


async def test_a_runner_that_outlives_its_kill_is_told_of_when_it_has_ended(
    site: BatchSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = RunnersThatDoNotEnd(site, monkeypatch)
    hanging.runners.begin(BATCH, 1)
    await eventually(lambda: hanging.runners.runs[0].status is not None, seconds=60)
    assert hanging.runners.runs[0].status == -signal.SIGKILL
    assert "runner_outlives_its_kill" in caplog.text
    assert await hanging.runners.left(60)


async def test_the_end_of_the_process_waits_for_no_runner_that_outlives_its_kill(
    site: BatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = RunnersThatDoNotEnd(site, monkeypatch)
    hanging.runners.begin(BATCH, 1)
    await soon(hanging.began)
    await hanging.runners.close()
    await eventually(lambda: hanging.runners.runs[0].status is not None, seconds=60)


class NoCallers:
    """The companion of an engine that nobody calls; `asked` is done when that is asked for."""

    load: EngineLoad | None = None

    def __init__(self, asked: Callable[[], None] = lambda: None) -> None:
        self._asked = asked

    @property
    def in_flight(self) -> int:
        self._asked()
        return 0

    def start(self) -> None:
        """Begin."""

    def drain(self) -> None:
        """Take nothing more."""

    async def drained(self, within_s: float) -> bool:
        return True

    async def look(self) -> EngineLoad | None:
        return None


async def test_an_instance_says_nothing_of_a_runner_that_its_disk_does_not_let_begin(
    site: BatchSite, tmp_path: Path
) -> None:
    """So the agent has the batch done elsewhere; an instance still does others."""
    site.spool.prepare()
    hanging = HangingFile.at(site.folder().order)
    place = Place(spool=site.spool, instance=INSTANCE, target=SILENT, folder=tmp_path)
    runs = BatchRuns(place, NoCallers(), BatchAllowance(1.25))
    runs.start()
    working = asyncio.create_task(runs.run())
    try:
        Assignments(fence=1, epochs={BATCH: 1}).write(site.spool, INSTANCE)
        await eventually(place.load_file.exists)
        # It goes on looking: a second batch, whose order is not there, has ended.
        Assignments(fence=1, epochs={BATCH: 1, "batch_00000002": 1}).write(site.spool, INSTANCE)
        await eventually(lambda: (Working.read(site.spool, INSTANCE) or Working()).runs)
        said = Working.read(site.spool, INSTANCE)
        assert said is not None
        assert [run.batch for run in said.runs] == ["batch_00000002"]
    finally:
        working.cancel()
        await asyncio.wait({working})
        with hanging.let_go():
            await asyncio.get_running_loop().shutdown_default_executor()


@asynccontextmanager
async def at_work(place: Place, allowance: BatchAllowance | None = None) -> AsyncIterator[None]:
    """Have an instance work on batches."""
    place.spool.prepare()
    runs = BatchRuns(place, NoCallers(), allowance or BatchAllowance(1.25))
    runs.start()
    working = asyncio.create_task(runs.run())
    try:
        yield
    finally:
        working.cancel()
        await asyncio.wait({working})


@pytest.fixture
def place(site: BatchSite, tmp_path: Path) -> Place:
    return Place(spool=site.spool, instance=INSTANCE, target=SILENT, folder=tmp_path)


class AllowanceThatIsAsked(BatchAllowance):
    """It remembers how many runners it was told of; each number once in a row."""

    def __init__(self) -> None:
        super().__init__(1.25)
        self.told: list[int] = []

    def look(self, now: float, *, runners: int, lines: int, callers: int = 0) -> float:
        if self.told[-1:] != [runners]:
            self.told.append(runners)
        return super().look(now, runners=runners, lines=lines, callers=callers)


async def test_when_the_last_runner_has_ended_callers_are_known_to_be_alone(
    site: BatchSite, place: Place
) -> None:
    allowance = AllowanceThatIsAsked()
    async with at_work(place, allowance):
        Assignments(fence=1, epochs={BATCH: 1}).write(site.spool, INSTANCE)
        await eventually(lambda: allowance.told == [0, 1])
        Assignments(fence=1, epochs={}).write(site.spool, INSTANCE)
        await eventually(lambda: allowance.told == [0, 1, 0], seconds=40)


def told_at(place: Place) -> float:
    """Return when runners were last told how many callers there are."""
    at: float = json.loads(place.load_file.read_text())["at"]
    return at


def runs_it(site: BatchSite) -> bool:
    said = Working.read(site.spool, INSTANCE) or Working()
    return any(run.pid and run.status is None for run in said.runs)


@pytest.mark.parametrize("hangs", [False, True])
async def test_runners_hear_of_callers_also_while_the_shared_disk_fails(
    site: BatchSite, place: Place, hangs: bool
) -> None:
    """What they hear is on the node's own disk."""
    hanging: list[HangingFile] = []
    async with at_work(place):
        Assignments(fence=1, epochs={BATCH: 1}).write(site.spool, INSTANCE)
        await eventually(lambda: runs_it(site))
        (path,) = site.spool.assigned_folder.glob("*.json")
        if hangs:
            hanging.append(HangingFile.at(path))
        else:
            path.unlink()
            path.mkdir()
        failed_at = time.time()
        await eventually(lambda: told_at(place) > failed_at + 1.0)
        assert runs_it(site)
    for one in hanging:
        with one.let_go():
            await asyncio.get_running_loop().shutdown_default_executor()


async def test_what_ended_is_told_also_while_the_node_s_own_disk_is_full(
    site: BatchSite, place: Place
) -> None:
    async with at_work(place):
        Assignments(fence=1, epochs={BATCH: 1}).write(site.spool, INSTANCE)
        await eventually(lambda: runs_it(site))
        # Nobody can write there.
        place.load_file.unlink()
        place.load_file.mkdir()
        Assignments(fence=1, epochs={"batch_00000002": 1}).write(site.spool, INSTANCE)
        await eventually(lambda: said_to_have_ended(site), seconds=40)


async def test_a_runner_that_is_begun_while_its_instance_is_told_to_drain_leaves(
    site: BatchSite, place: Place
) -> None:
    site.spool.prepare()
    Assignments(fence=1, epochs={BATCH: 1}).write(site.spool, INSTANCE)

    def asked() -> None:
        # By who is about to begin a runner, to tell it how many callers there are.
        if asyncio.current_task() is working:
            runs.drain()

    runs = BatchRuns(place, NoCallers(asked), BatchAllowance(1.25))
    runs.start()
    working = asyncio.create_task(runs.run())
    try:
        # Sooner than a runner that nobody answers ends by itself.
        await eventually(lambda: said_to_have_ended(site), seconds=40)
    finally:
        working.cancel()
        await asyncio.wait({working})


def said_to_have_ended(site: BatchSite) -> bool:
    said = Working.read(site.spool, INSTANCE) or Working()
    return [run.status for run in said.runs] in ([RESUME], [-signal.SIGTERM])
