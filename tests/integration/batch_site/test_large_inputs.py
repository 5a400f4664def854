"""A large input is looked through beside the agent: for one with a mistake nothing is started."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from batch.folder import Folder
from compute_functions.batch_keeper.assignments import Assignments
from compute_functions.batch_keeper.working import Working
from compute_functions.batch_spool import checking, fate
from compute_functions.batch_spool.agent_state import DESK, AgentState
from compute_functions.contract.batches import BatchReport, BatchState
from compute_functions.site import VARIABLE
from compute_functions.site_agent import agent
from compute_functions.site_agent.batches import AgentBatches
from compute_functions.site_agent.disk import Disk
from compute_functions.site_agent.troubles import Troubles
from tests.support.agent_in_memory import AgentPlant, desired
from tests.support.batch_orders import BatchSite, lines, order, sum_of
from tests.support.batch_runs import batch_engine_in, finished
from tests.support.eventually import eventually
from tests.support.hanging_file import HangingFile

BATCH = "batch_00000001"
#: A look of the agent is a second of its clock; a runner is a process of its own (seconds).
BETWEEN_S, LONG_S = 0.1, 60.0

_T = TypeVar("_T")


@dataclass(slots=True)
class Plant:
    """The real agent and its runners, with a scheduler in memory; any input is large."""

    agents: AgentPlant
    batches: BatchSite
    #: What the gateway was told, and how many jobs there were then.
    seen: list[tuple[BatchState, int]] = field(default_factory=list)

    def submit(self, content: bytes) -> None:
        self.batches.taken(order(upload=sum_of(content)))
        self.batches.upload(content)

    async def until(self, such: Callable[[BatchReport], bool]) -> BatchReport:
        """Let the agent look until the gateway is told such a thing; note all that it is told."""
        async with asyncio.timeout(LONG_S):
            while True:
                told = self.batches.report()
                now = told.state, len(self.agents.scheduler.all_jobs())
                if now not in self.seen:
                    self.seen.append(now)
                if such(told):
                    return told
                await self.agents.look()
                await asyncio.sleep(BETWEEN_S)

    def epochs(self) -> list[int]:
        taken = (self.batches.folder().work / "epochs").iterdir()
        return sorted(int(path.name) for path in taken)


@pytest.fixture
async def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plant]:
    monkeypatch.setattr(checking, "AT_ONCE_BYTES", 10)
    agents = AgentPlant(tmp_path, batches={"keep_free_bytes": 0})
    monkeypatch.setenv(VARIABLE, str(agents.site.root))
    async with agents.begun():
        agents.want(desired(min=0))
        yield Plant(agents, BatchSite(agents.site))
        # An outcome is there before the process that wrote it has ended.
        await eventually(no_runner, seconds=LONG_S)


def no_runner() -> bool:
    return not any(task.get_name().startswith("runner ") for task in asyncio.all_tasks())


async def test_one_with_mistakes_fails_and_its_model_never_starts(plant: Plant) -> None:
    plant.submit(lines(3) + lines(3))
    told = await plant.until(lambda one: one.state.final)
    assert (told.state, told.error_count) == (BatchState.FAILED, 3)
    assert [(one.code, one.line) for one in told.errors] == [
        ("duplicate_custom_id", number) for number in (4, 5, 6)
    ]
    # As of a small one.
    assert (told.total, told.endpoint) == (6, "/v1/chat/completions")
    assert told.reason.startswith("the input cannot be used: line 4: custom_id")
    assert told.reason.endswith(" (2 more)")
    await plant.agents.look(10)
    await plant.until(lambda one: one.state.final)
    assert plant.seen == [(BatchState.VALIDATING, 0), (BatchState.FAILED, 0)]
    assert plant.agents.instances == []


async def test_a_good_one_waits_for_an_instance_after_that_and_is_done(
    plant: Plant, tmp_path: Path
) -> None:
    plant.submit(lines(3))
    told = await plant.until(lambda one: one.state is BatchState.WAITING)
    assert (told.total, plant.agents.trouble) == (3, "")
    # It was not held up by a pause: in the same look its model was wanted, and not before.
    assert plant.seen == [(BatchState.VALIDATING, 0), (BatchState.WAITING, 1)]
    await plant.agents.look(5)
    (name,) = plant.agents.instances
    Working().write(plant.batches.spool, name)
    await plant.agents.look(2)
    assert Assignments.read(plant.batches.spool, name) == Assignments(fence=1, epochs={BATCH: 2})
    work = plant.batches.folder().work
    async with batch_engine_in(tmp_path) as engine:
        assert await finished(work, "--socket", str(engine.socket), "--epoch", "2") == 0
        assert engine.asked.total() == 3
    told = plant.batches.report()
    assert (told.state, told.completed, told.resumed) == (BatchState.COMPLETED, 3, 0)


async def test_nobody_s_many_are_looked_through_before_anybody_else_s(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when they are all wrong, and cost no engine anything."""
    caplog.set_level(logging.INFO, logger="hotnode.batches")
    wrong = lines(3) + lines(3)
    owners = {f"batch_0000000{number}": who for number, who in enumerate(["ann"] * 3 + ["bob"])}
    for number, (batch, owner) in enumerate(owners.items()):
        plant.batches.taken(
            order(batch, upload=sum_of(wrong), share_of=owner, created_at=1_790_000_000.0 + number)
        )
        plant.batches.upload(wrong, batch=batch)

    async with asyncio.timeout(LONG_S):
        while not all(plant.batches.report(batch).state.final for batch in owners):
            await plant.agents.look()
            await asyncio.sleep(BETWEEN_S)
    begun = [one.split() for one in caplog.messages if one.startswith("batch_assigned")]
    turns = [owners[batch.removeprefix("batch=")] for _, batch, *_ in begun]
    assert turns == ["ann", "bob", "ann", "ann"]


async def test_one_that_an_agent_before_had_begun_to_look_through(plant: Plant) -> None:
    plant.submit(lines(3))
    folder = plant.batches.folder()
    assert fate.begin(folder, now=1.0)
    AgentState(fence=0, epoch=1, instance=DESK, since=plant.agents.wall).write(folder)
    runners = Folder(folder.work)
    runners.make()
    assert runners.epochs.take(1) == 1
    await plant.until(lambda one: one.state is BatchState.WAITING)
    assert plant.epochs() == [1, 2]
    assert plant.agents.trouble == ""


async def test_the_agent_looks_again_as_soon_as_a_runner_beside_it_ends(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "LOOK_S", LONG_S)
    plant.submit(lines(3))
    running = asyncio.create_task(plant.agents.agent.run())
    try:
        waits = BatchState.WAITING
        await eventually(lambda: plant.batches.report().state is waits, seconds=LONG_S / 2)
    finally:
        running.cancel()
        await asyncio.wait({running})


class DiskOnWhichARunnerEnds(Disk):
    """Once, when something was read, a runner that could not begin before begins, and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging: HangingFile | None = None

    async def do(self, work: Callable[[], _T]) -> _T:
        found = await super().do(work)
        hanging, self.hanging = self.hanging, None
        if hanging is not None:
            with hanging.let_go():
                await eventually(lambda: not is_attended(), seconds=LONG_S)
        return found


def is_attended() -> bool:
    """Tell whether there is a runner beside the agent."""
    return f"runner {BATCH}" in {task.get_name() for task in asyncio.all_tasks()}


async def test_one_whose_runner_ended_during_a_look_is_not_taken_for_one_whose_runner_left(
    plant: Plant,
) -> None:
    """How runners are is noted first: what they wrote before that is read."""
    plant.submit(lines(3))
    settings = plant.agents.config.batches
    assert settings is not None
    with DiskOnWhichARunnerEnds() as disk:
        batches = AgentBatches(plant.agents.setup(), settings, disk=disk, troubles=Troubles())
        await batches.load()
        hanging = HangingFile.at(plant.batches.folder().log)
        seen = []
        for look in range(3):
            disk.hanging = hanging if look == 1 else None
            await batches.look((), None, ())
            state = plant.batches.view().state
            assert state is not None
            seen.append((state.instance, state.setbacks, state.not_before))
        await batches.close()
    assert seen == [(DESK, 0, 0.0), (DESK, 0, 0.0), (None, 0, 0.0)]
