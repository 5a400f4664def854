"""Batches in the agent's looks: they want their model, wait with a reason, harm nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from batch.control import Control
from batch.folder import Folder
from batch.outcome import Outcome, Status
from batch.progress import Progress, Stage
from compute_functions.batch_keeper.assignments import Assignments
from compute_functions.batch_keeper.working import Run, Working
from compute_functions.batch_spool.agent_state import DESK, AgentState
from compute_functions.contract import FOR_BATCHES, DesiredModel, InstanceState
from compute_functions.contract.batches import BatchState
from compute_functions.errors import LeaseLost
from compute_functions.site import VARIABLE
from compute_functions.site_agent.agent import EAGER_LOOK_S, LOOK_S
from tests.support.agent_in_memory import AgentPlant, desired
from tests.support.batch_orders import BatchSite, lines, order
from tests.support.eventually import eventually
from tests.support.hanging_file import HangingFile
from tests.support.slurm_site import MODEL, write_model

BATCH = "batch_00000001"
TAKE_NONE = (
    "the instances of its model take no batches: they began before this site did, or cannot write "
    "to its spool; its operators must act"
)


@dataclass(slots=True)
class Plant:
    """An agent in memory, and the batches of its site."""

    agents: AgentPlant
    batches: BatchSite

    async def one_ready(self, **changes: object) -> str:
        """Have an instance of the model that takes batches, and return its name."""
        self.agents.want(desired(min=0, idle_timeout_s=20.0, **changes))
        (name,) = [one.name for one in (await self.agents.look(5)).instances]
        Working().write(self.batches.spool, name)
        return name

    def epoch(self, instance: str) -> int | None:
        """Return the epoch with which an instance is to work on the batch."""
        told = Assignments.read(self.batches.spool, instance)
        return told.epochs.get(BATCH) if told else None

    def say(self, instance: str, epoch: int, status: int | None = None) -> None:
        """Say what the instance works on."""
        run = Run(batch=BATCH, epoch=epoch, pid=9, status=status)
        Working((run,)).write(self.batches.spool, instance)

    def end(self) -> None:
        """Have the batch completed."""
        outcome = Outcome(status=Status.COMPLETED, started_at=1.0, ended_at=2.0, epoch=1)
        assert Folder(self.batches.folder().work).put_outcome(outcome)


@pytest.fixture
async def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plant]:
    agents = AgentPlant(tmp_path, batches={"keep_free_bytes": 0})
    monkeypatch.setenv(VARIABLE, str(agents.site.root))
    async with agents.begun():
        made = Plant(agents, BatchSite(agents.site))
        yield made


def submit(plant: Plant) -> None:
    plant.batches.taken(order())
    plant.batches.upload(lines())


def drains(plant: Plant, name: str) -> bool:
    """Whether an instance was told to end."""
    return (plant.agents.site.control / f"{name}.json").exists()


async def test_a_model_starts_for_a_batch_stays_while_it_runs_and_goes_when_it_is_over(
    plant: Plant,
) -> None:
    submit(plant)
    name = await plant.one_ready()
    await plant.agents.look(2)
    assert plant.epoch(name) == 1
    plant.say(name, 1)
    # No request of a caller for three times as long as it may idle.
    await plant.agents.look(60)
    assert not drains(plant, name)
    assert plant.batches.report().state is BatchState.VALIDATING
    plant.end()
    plant.say(name, 1, 0)
    # It is let go as after the last caller.
    await plant.agents.look(30)
    assert drains(plant, name)


async def test_while_an_engine_loads_for_a_batch_looks_are_frequent(plant: Plant) -> None:
    plant.agents.want(desired())
    (name,) = [one.name for one in (await plant.agents.look(5)).instances]
    Working().write(plant.batches.spool, name)
    assert plant.agents.agent.look_again_s(0.01) == LOOK_S
    (job,) = plant.agents.scheduler.all_jobs()
    plant.agents.silent.add(name)
    plant.agents.register(name, job.job_id, state=InstanceState.STARTING)
    submit(plant)
    await plant.agents.look()
    assert plant.agents.agent.look_again_s(0.01) == EAGER_LOOK_S
    # On a slow disk, or with many instances, a look takes its time.
    assert EAGER_LOOK_S < plant.agents.agent.look_again_s(0.1) < LOOK_S
    assert plant.agents.agent.look_again_s(30.0) == LOOK_S
    plant.agents.register(name, job.job_id)
    await plant.agents.look()
    assert plant.epoch(name) == 1
    assert plant.agents.agent.look_again_s(0.01) == LOOK_S


async def test_nobody_asks_and_no_batch_wants_it(plant: Plant) -> None:
    plant.agents.want(desired(min=0))
    await plant.agents.look(5)
    assert plant.agents.instances == []


async def test_an_instance_that_falls_silent_loses_its_batch(plant: Plant) -> None:
    submit(plant)
    name = await plant.one_ready()
    await plant.agents.look(2)
    plant.say(name, 1)
    plant.agents.silent.add(name)
    await plant.agents.look(8)
    state = plant.batches.view().state
    assert state is not None
    assert state.instance != name
    (other,) = [one for one in plant.agents.instances if one != name]
    Working().write(plant.batches.spool, other)
    await plant.agents.look(8)
    assert plant.epoch(other) == 2


async def test_what_was_recorded_is_not_forgotten_while_a_runner_reads_the_journal(
    plant: Plant,
) -> None:
    """Else runners that die now in the one, now in the other stage would be tried for ever."""
    submit(plant)
    name = await plant.one_ready()
    await plant.agents.look(2)
    seen = []
    for epoch, (stage, completed) in enumerate(
        [(Stage.RUNNING, 10), (Stage.VALIDATING, 0), (Stage.RUNNING, 10)], start=1
    ):
        told = Progress(stage=stage, completed=completed, started_at=1.0, at=2.0, epoch=epoch)
        Folder(plant.batches.folder().work).put_progress(told.to_wire())
        plant.say(name, epoch, -9)
        await plant.agents.look(3)
        state = plant.batches.view().state
        assert state is not None
        seen.append((state.epoch, state.instance, state.recorded, state.crashes))
        await plant.agents.look(30)
    assert seen == [(1, None, 10, 1), (2, None, 10, 2), (3, None, 10, 3)]


async def no_runner() -> None:
    """Wait for the end of the runner beside the agent."""
    name = f"runner {BATCH}"
    await eventually(lambda: name not in {task.get_name() for task in asyncio.all_tasks()})


async def test_who_gives_a_batch_up_says_so_to_the_runner_that_writes_it_out(plant: Plant) -> None:
    submit(plant)
    await plant.agents.look(2)
    folder = plant.batches.folder()
    replace(AgentState(fence=0), given_up="it died", recorded=1).write(folder)
    await plant.agents.look(3)
    told = Control.from_wire(json.loads(folder.control.read_text()))
    state = plant.batches.view().state
    assert state is not None
    assert (told.given_up, state.instance) == ("it died", DESK)
    # It is a process of its own.
    await no_runner()
    report = plant.batches.report()
    assert (report.state, report.failed, report.reason) == (BatchState.COMPLETED, 3, "it died")


@pytest.mark.parametrize("hangs", ["order.json", "runner.log"])
async def test_a_disk_that_hangs_while_a_runner_begins_holds_up_no_look(
    plant: Plant, hangs: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="hotnode.batches")
    submit(plant)
    plant.agents.want(desired())
    await plant.agents.look(2)
    folder = plant.batches.folder()
    replace(AgentState(fence=0), given_up="it died", recorded=1).write(folder)
    hanging = HangingFile.at(folder.path / hangs)
    # For longer than an instance has to begin a batch.
    looks = asyncio.create_task(plant.agents.look(70))
    done, _ = await asyncio.wait({looks}, timeout=60)
    with hanging.let_go():
        assert done
        # All that an agent does besides was done.
        assert [one.state for one in looks.result().instances] == [InstanceState.READY]
        await no_runner()
    assert plant.batches.report().state is BatchState.COMPLETED
    assert len([one for one in caplog.messages if one.startswith("runner_begins")]) == 1


async def test_an_instance_of_before_the_site_took_batches_is_given_none(plant: Plant) -> None:
    submit(plant)
    name = await plant.one_ready()
    shutil.rmtree(plant.batches.spool.working_folder)
    plant.batches.spool.prepare()
    await plant.agents.look(5)
    assert plant.epoch(name) is None
    told = plant.batches.report()
    assert (told.state, told.reason) == (BatchState.WAITING, TAKE_NONE)


async def test_the_next_agent_goes_on_with_what_runs(plant: Plant) -> None:
    submit(plant)
    name = await plant.one_ready()
    await plant.agents.look(2)
    plant.say(name, 1)
    async with plant.agents.begun():
        plant.agents.want(desired(min=0, idle_timeout_s=20.0))
        await plant.agents.look(5)
        told = Assignments.read(plant.batches.spool, name)
    assert told == Assignments(fence=2, epochs={BATCH: 1})
    assert plant.agents.instances == [name]


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("vllm", "no gateway wants its model here any more"),
        ("other", "its model does not run: the site does not allow its engine, other"),
    ],
)
async def test_a_batch_that_cannot_run_waits_and_says_why(
    plant: Plant, tmp_path: Path, engine: str, reason: str
) -> None:
    submit(plant)
    if engine == "other":
        plant.agents.want(desired(min=0))
        write_model(tmp_path, "tiny.yaml", engine=engine)
    else:
        plant.agents.want()
    await plant.agents.look(4)
    told = plant.batches.report()
    assert (told.state, told.reason) == (BatchState.WAITING, reason)
    assert plant.agents.instances == []


async def test_what_is_wrong_with_batches_keeps_no_model_from_running(plant: Plant) -> None:
    submit(plant)
    # A file stands where the folder of tombstones does.
    shutil.rmtree(plant.batches.spool.forgotten_folder)
    plant.batches.spool.forgotten_folder.touch()
    plant.agents.want(desired(min=1))
    status = await plant.agents.look(5)
    assert [one.state for one in status.instances] == [InstanceState.READY]
    assert "Not a directory" in plant.agents.trouble
    plant.batches.spool.forgotten_folder.unlink()
    await plant.agents.look(3)
    assert plant.agents.trouble == ""


async def test_who_has_lost_the_lease_writes_nothing(plant: Plant) -> None:
    submit(plant)
    name = await plant.one_ready()
    other = plant.agents.new_lease()
    plant.agents.pass_time(60)
    assert not other.acquire()
    plant.agents.pass_time(60)
    assert other.acquire()
    with pytest.raises(LeaseLost):
        await plant.agents.agent.look()
    assert plant.epoch(name) is None


async def test_the_model_s_file_bounds_its_batches(plant: Plant, tmp_path: Path) -> None:
    write_model(tmp_path, "tiny.yaml", batch={"share": 0.2, "concurrency": 7})
    submit(plant)
    name = await plant.one_ready()
    await plant.agents.look(2)
    assert plant.epoch(name) == 1
    said = plant.batches.folder().control.read_text()
    assert '"share":0.2,"concurrency":7' in said
    assert MODEL in plant.batches.folder().order.read_text()


def for_batches(**changes: object) -> DesiredModel:
    """Return what a gateway desires for batches alone."""
    alone = {"min": 0, "purpose": FOR_BATCHES, "refresh": False, "idle_timeout_s": 20.0}
    return desired(**(alone | changes))


async def test_batches_with_instances_of_their_own_leave_those_of_callers_alone(
    plant: Plant,
) -> None:
    submit(plant)
    plant.agents.enrol()
    async with plant.agents.begun():
        plant.agents.want(desired(min=1), for_batches())
        status = await plant.agents.look(5)
        (own,) = [one.name for one in status.instances if one.purpose]
        (callers,) = [one.name for one in status.instances if not one.purpose]
        for name in (own, callers):
            Working().write(plant.batches.spool, name)
        await plant.agents.look(2)
        assert (plant.epoch(own), plant.epoch(callers)) == (1, None)
        # All of it is the batch's, whatever its share is beside callers.
        assert '"share":1.0' in plant.batches.folder().control.read_text()
        # Nothing of it can dial a hub.
        vouched = {path.stem for path in plant.agents.site.credentials.glob("*.json")}
        assert vouched == {callers}
        plant.say(own, 1)
        plant.end()
        plant.say(own, 1, 0)
        await plant.agents.look(30)
        assert (drains(plant, own), drains(plant, callers)) == (True, False)


async def test_the_next_agent_knows_whose_instance_it_is_also_without_its_order(
    plant: Plant,
) -> None:
    submit(plant)
    plant.agents.want(for_batches())
    (own,) = [one.name for one in (await plant.agents.look(5)).instances]
    (plant.agents.site.orders / f"{own}.json").unlink()
    async with plant.agents.begun():
        plant.agents.want(desired(min=1), for_batches())
        found = {one.name: one.purpose for one in (await plant.agents.look(3)).instances}
    assert found[own] == FOR_BATCHES
    assert [name for name, purpose in found.items() if not purpose]


async def test_one_that_runs_beside_callers_stays_there_when_its_file_is_changed(
    plant: Plant,
) -> None:
    submit(plant)
    name = await plant.one_ready()
    await plant.agents.look(2)
    plant.say(name, 1)
    plant.agents.want(desired(min=0), for_batches())
    await plant.agents.look(5)
    assert plant.epoch(name) == 1
    assert plant.agents.instances == [name]
    assert '"share":0.5' in plant.batches.folder().control.read_text()
