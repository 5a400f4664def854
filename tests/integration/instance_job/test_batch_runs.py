"""An instance works on the batches that it is given, beside its callers, and leaves none behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from batch.control import Control
from compute_functions import processes
from compute_functions.batch_keeper.assignments import Assignments
from compute_functions.batch_keeper.working import Run, Working
from compute_functions.batch_spool import control, fate
from compute_functions.batch_spool.told import Progress
from compute_functions.contract.batches import BatchState
from compute_functions.site import VARIABLE
from lab.processes import Child
from tests.support.asking_hub import hub_that_asks
from tests.support.batch_agent_site import recorded_in
from tests.support.batch_orders import BatchSite, order, sum_of
from tests.support.eventually import eventually
from tests.support.ordered_jobs import FRAMEWORK, INSTANCE, MODEL, PATH, OrderedSite

BATCH = "batch_00000001"
CHAT = "/v1/chat/completions"
#: What lines name and what the engine has are not the same: as with infinity.
PATHS = {PATH: CHAT, "/v1/sicken": "/v1/sicken"}


def content_of(count: int, *, tokens: int, every_s: float) -> bytes:
    body = {"model": MODEL, "messages": [], "tokens": tokens, "every_s": every_s}
    lines = (
        {"custom_id": f"line-{number}", "method": "POST", "url": PATH, "body": body}
        for number in range(count)
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


@dataclass(slots=True)
class Plant:
    """A job, and the agent's part in its batches."""

    ordered: OrderedSite
    batches: BatchSite

    def submit(self, count: int, *, tokens: int = 2, every_s: float = 0.01) -> None:
        content = content_of(count, tokens=tokens, every_s=every_s)
        values = {"model": MODEL, "framework": FRAMEWORK, "upload": sum_of(content)}
        self.batches.taken(order(BATCH, **values))
        self.batches.upload(content)
        assert fate.begin(self.batches.folder(), now=1.0)

    def assign(self, epoch: int = 0, *, fence: int = 1) -> None:
        """Tell the instance to work on the batch with this epoch, or on nothing."""
        told = {BATCH: epoch} if epoch else {}
        Assignments(fence=fence, epochs=told).write(self.batches.spool, INSTANCE)

    def run(self) -> Run | None:
        said = Working.read(self.batches.spool, INSTANCE)
        return next((run for run in said.runs), None) if said else None

    def completed(self) -> int:
        told = Progress.read(self.batches.folder())
        return 0 if told is None else told.completed

    def status(self) -> int | None:
        run = self.run()
        return None if run is None else run.status

    async def running(self, such: Callable[[int], bool] = bool) -> Run:
        """Wait until some lines are recorded."""
        await eventually(lambda: such(self.completed()), seconds=60)
        run = self.run()
        assert run is not None
        return run


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    ordered = OrderedSite.made(tmp_path, paths=PATHS, watch_every_s=1, batch_priority=100)
    file = ordered.site.root / "site.yaml"
    values = yaml.safe_load(file.read_text()) | {"batches": {"keep_free_bytes": 0}}
    file.write_text(yaml.safe_dump(values))
    monkeypatch.setenv(VARIABLE, str(ordered.site.root))
    ordered.order()
    made = Plant(ordered, BatchSite(ordered.site))
    made.batches.spool.prepare()
    return made


@asynccontextmanager
async def ready(plant: Plant) -> AsyncIterator[Child]:
    async with plant.ordered.job() as child:
        await plant.ordered.ready(child)
        yield child


@pytest.mark.row("C-43")
async def test_a_batch_is_run_with_the_engines_key_and_by_its_own_path(plant: Plant) -> None:
    plant.submit(20)
    async with ready(plant):
        plant.assign(1)
        await eventually(lambda: plant.status() is not None, seconds=60)
        run = plant.run()
        # It takes the next one that it is given; one that is over it does not begin anew.
        assert run is not None
        assert (run.epoch, run.status) == (1, 0)

    told = plant.batches.report()
    assert (told.state, told.completed, told.failed) == (BatchState.COMPLETED, 20, 0)


async def test_a_batch_that_is_taken_away_finishes_its_lines_and_goes_on_with_a_higher_epoch(
    plant: Plant,
) -> None:
    plant.submit(400, every_s=0.02)
    control.write(plant.batches.folder(), Control(concurrency=4))
    async with ready(plant):
        plant.assign(1)
        await plant.running()
        plant.assign()
        await eventually(lambda: plant.status() is not None, seconds=60)
        assert plant.status() == 4
        recorded = plant.completed()
        # The word of an agent that is none any more.
        plant.assign(3, fence=0)
        plant.assign(2, fence=2)
        run = await plant.running(lambda completed: completed > recorded)
        assert run.epoch == 2


async def test_a_job_that_is_killed_leaves_no_runner(plant: Plant) -> None:
    plant.submit(400, every_s=0.05)
    control.write(plant.batches.folder(), Control(concurrency=2))
    async with ready(plant) as child:
        plant.assign(1)
        run = await plant.running()
        assert processes.started(run.pid)
        os.kill(child.pid, signal.SIGKILL)
        await child.left(within_s=30)
        await eventually(lambda: not processes.started(run.pid), seconds=40)


async def test_an_instance_that_ends_lets_lines_under_way_finish(plant: Plant) -> None:
    plant.submit(400, tokens=20, every_s=0.05)
    control.write(plant.batches.folder(), Control(concurrency=4))
    async with ready(plant) as child:
        plant.assign(1)
        run = await plant.running()
        before = len(recorded_in(plant.batches.folder()))
        plant.ordered.tell()
        await child.left(within_s=40)

    assert not processes.started(run.pid)
    assert plant.ordered.state() == "stopped"
    # Those that were under way, and none that began after the word.
    assert before < plant.completed() <= before + 8
    assert plant.completed() == len(recorded_in(plant.batches.folder()))
    plant.ordered.nothing_is_left()


async def test_callers_come_before_batches_and_only_they_count(plant: Plant) -> None:
    """With somebody there, a quarter of the four lines at a time at most is under way."""
    plant.submit(200, tokens=10, every_s=0.05)
    control.write(plant.batches.folder(), Control(concurrency=4, share=0.25))
    async with hub_that_asks() as (hub, address):
        plant.ordered.enrolled(address)
        plant.ordered.vouch("77")
        async with plant.ordered.job(environment={"SLURM_JOB_ID": "77"}) as child:
            await plant.ordered.ready(child)
            await hub.linked()
            plant.assign(1)
            await plant.running(lambda completed: completed > 8)
            assert under_way(plant) == 4
            await eventually(lambda: (plant.ordered.registered().running or 0) < 4)
            body = {"model": MODEL, "tokens": 200, "every_s": 0.05}
            asked = await hub.ask(json.dumps(body).encode(), path=PATH)
            await eventually(lambda: under_way(plant) <= 1)
            await eventually(lambda: plant.ordered.registered().in_flight == 1)
            assert plant.ordered.registered().waiting == 0
            assert asked is not None


def under_way(plant: Plant) -> int:
    file = plant.batches.folder().progress
    return int(json.loads(file.read_bytes())["under_way"])
