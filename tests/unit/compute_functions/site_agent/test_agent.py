"""The agent's looks: what it does when the scheduler, the disk or another agent fails it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from compute_functions.contract import DesiredState, InstanceState, Wishes
from compute_functions.drivers import Job, JobState
from compute_functions.errors import DiskFailed, LeaseLost, Outranked
from compute_functions.orders import Order
from compute_functions.relay.handed_credentials import CredentialFile
from compute_functions.site_agent import ensuring
from compute_functions.site_agent.agent import GONE_S, OUTRANKED_S
from compute_functions.site_agent.inbox import Inbox
from compute_functions.site_agent.lease import MARGIN_S, TERM_S
from compute_functions.site_agent.looking import UNSURE_S
from tests.support.agent_in_memory import POLL_S, AgentPlant, desired
from tests.support.eventually import eventually
from tests.support.slurm_site import MODEL


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[AgentPlant]:
    plant = AgentPlant(tmp_path)
    async with plant.begun():
        yield plant


async def one_ready(plant: AgentPlant) -> str:
    """Have one instance of the hot model at work, and return its name."""
    plant.want(desired())
    status = await plant.look(4)
    (one,) = status.instances
    assert one.state is InstanceState.READY
    return one.name


class TestNothingIsDesired:
    async def test_without_a_desired_state_nothing_is_done(self, plant: AgentPlant) -> None:
        plant.demand(waiting=3)
        await plant.look(3)
        assert plant.scheduler.submissions == []
        assert "no gateway has said" in plant.trouble

    async def test_an_older_one_changes_nothing(self, plant: AgentPlant) -> None:
        name = await one_ready(plant)
        plant.agent.wish(DesiredState(generation=0, revision=99))
        await plant.look(3)
        assert plant.instances == [name]

    async def test_it_is_written_down_before_it_is_acted_on(self, plant: AgentPlant) -> None:
        (plant.site.agent / "desired.json").mkdir()
        plant.want(desired())
        with pytest.raises(DiskFailed, match=r"desired\.json"):
            await plant.look()
        assert plant.scheduler.submissions == []
        (plant.site.agent / "desired.json").rmdir()
        await plant.look(2)
        assert len(plant.scheduler.submissions) == 1


class TestTheSchedulerFails:
    async def test_nothing_is_decided_and_no_order_taken_away(self, plant: AgentPlant) -> None:
        name = await one_ready(plant)
        plant.scheduler.faults.away = True
        await plant.look(int(POLL_S) + 1)
        plant.want(desired(min=3, max=3))
        status = await plant.look(60)
        assert plant.instances == [name]
        assert len(plant.scheduler.submissions) == 1
        assert [one.name for one in status.instances] == [name]
        assert "the controller is away" in plant.trouble
        plant.scheduler.faults.away = False
        await plant.look(6)
        assert len(plant.scheduler.submissions) == 3
        assert plant.trouble == ""

    async def test_it_is_not_asked_more_often_for_that(self, plant: AgentPlant) -> None:
        await plant.look()
        plant.scheduler.faults.away = True
        before = plant.scheduler.questions
        await plant.look(20)
        assert plant.scheduler.questions - before <= 20 / POLL_S + 1

    async def test_one_that_hangs_holds_up_neither_looks_nor_word(self, plant: AgentPlant) -> None:
        name = await one_ready(plant)
        plant.scheduler.faults.answers = asyncio.Event()
        await plant.look(int(POLL_S) + 1)
        plant.silent.add(name)
        plant.register(name, "1", state=InstanceState.DRAINING)
        status = await plant.look(8)
        assert [one.state for one in status.instances] == [InstanceState.DRAINING]
        assert "has not answered" in plant.trouble
        assert len(plant.scheduler.submissions) == 1
        plant.scheduler.faults.answers.set()

    async def test_without_sizes_the_rest_goes_on(self, plant: AgentPlant) -> None:
        plant.scheduler.faults.knows_no_sizes = True
        await one_ready(plant)
        assert "sinfo" in plant.trouble

    async def test_a_list_that_misses_an_instance_whose_heart_beats(
        self, plant: AgentPlant
    ) -> None:
        name = await one_ready(plant)
        plant.scheduler.faults.hidden.add(name)
        status = await plant.look(30)
        assert [one.name for one in status.instances] == [name]
        assert plant.instances == [name]
        assert len(plant.scheduler.submissions) == 1

    async def test_foreign_jobs_and_odd_ones_are_no_instances(self, plant: AgentPlant) -> None:
        name = await one_ready(plant)
        # The driver passes foreign jobs over; of this one the order is lost, and the model unknown.
        plant.scheduler.put(
            Job(
                job_id="900",
                instance="lost-1",
                state=JobState.RUNNING,
                generation=1,
                fence=1,
                model="nobody/knows",
                nodes=("n3",),
                limit_s=3600.0,
            )
        )
        await plant.look(3)
        assert name in plant.instances

    async def test_two_jobs_of_one_instance_are_told_of(self, plant: AgentPlant) -> None:
        name = await one_ready(plant)
        (job,) = plant.scheduler.all_jobs()
        copy = replace(job, job_id="77", state=JobState.PENDING, nodes=())
        plant.scheduler.put(copy, gpus=99)
        status = await plant.look(int(POLL_S) + 1)
        assert "several jobs are of one instance: 77" in plant.trouble
        assert [(one.name, one.job_id) for one in status.instances] == [(name, job.job_id)]


class TestSubmitting:
    async def test_a_clear_refusal_is_told_and_tried_again(self, plant: AgentPlant) -> None:
        plant.scheduler.faults.refuses_jobs = True
        plant.want(desired())
        await plant.look(3)
        assert "no such node" in plant.trouble
        assert plant.instances == []
        plant.scheduler.faults.refuses_jobs = False
        # There is no job that might yet appear. After the second refusal it pauses for 10 s.
        await plant.look(12)
        assert len(plant.scheduler.submissions) == 1
        assert len(plant.instances) == 1
        assert plant.trouble == ""

    async def test_refusals_are_failed_starts_with_growing_pauses(
        self, plant: AgentPlant, caplog: pytest.LogCaptureFixture
    ) -> None:
        plant.scheduler.faults.refuses_jobs = True
        plant.want(desired())
        await plant.look(60)
        # At once, once more, after 10 s, after 20 s, and the next one after 40 s.
        assert caplog.text.count("submit_failed") == 4

    async def test_what_may_have_been_taken_is_waited_for(self, plant: AgentPlant) -> None:
        plant.scheduler.faults.loses_jobs = True
        plant.want(desired())
        await plant.look(3)
        assert "no answer in time" in plant.trouble
        plant.scheduler.faults.loses_jobs = False
        await plant.look(int(UNSURE_S) - 10)
        assert plant.scheduler.submissions == []
        await plant.look(int(GONE_S) + 40)
        assert len(plant.scheduler.submissions) == 1
        assert len(plant.instances) == 1

    async def test_a_job_that_is_there_after_a_lost_answer_is_not_doubled(
        self, plant: AgentPlant
    ) -> None:
        plant.scheduler.faults.loses_answers = True
        plant.want(desired())
        await plant.look()
        plant.scheduler.faults.loses_answers = False
        status = await plant.look(30)
        assert len(plant.scheduler.submissions) == 1
        assert [one.state for one in status.instances] == [InstanceState.READY]

    async def test_one_that_appears_late_is_not_doubled_either(self, plant: AgentPlant) -> None:
        plant.scheduler.faults.loses_answers = True
        plant.want(desired())
        await plant.look()
        plant.scheduler.faults.loses_answers = False
        (order,) = plant.scheduler.submissions
        plant.scheduler.faults.hidden.add(order.instance)
        plant.silent.add(order.instance)
        await plant.look(int(UNSURE_S / 2))
        plant.scheduler.faults.hidden.clear()
        plant.silent.clear()
        status = await plant.look(4)
        assert len(plant.scheduler.submissions) == 1
        assert [one.state for one in status.instances] == [InstanceState.READY]

    async def test_a_cancel_that_fails_keeps_nothing_else_from_being_done(
        self, plant: AgentPlant
    ) -> None:
        name = await one_ready(plant)
        plant.scheduler.faults.refuses_cancels = True
        plant.silent.add(name)
        await plant.look(12)
        assert "scancel" in plant.trouble
        # Its job cannot be ended, and another serves.
        assert len(plant.scheduler.submissions) == 2
        assert name in plant.instances


class TestTheLease:
    async def test_what_was_decided_under_a_lost_lease_is_not_done(self, plant: AgentPlant) -> None:
        plant.want(desired())
        another = plant.new_lease()
        answers = plant.scheduler.faults.answers = asyncio.Event()
        looking = asyncio.create_task(plant.agent.look())
        await eventually(lambda: plant.scheduler.questions)
        assert not another.acquire()
        plant.pass_time(TERM_S + MARGIN_S + 1)
        assert another.acquire()
        answers.set()
        with pytest.raises(LeaseLost):
            await looking
        assert plant.scheduler.submissions == []
        assert plant.instances == []

    async def test_an_agent_that_wakes_up_late_spoils_nothing_of_the_next(
        self, plant: AgentPlant
    ) -> None:
        await one_ready(plant)
        observed = ensuring.observed_file(plant.site)
        another = plant.new_lease()
        another.acquire()
        plant.pass_time(TERM_S + MARGIN_S + 1)
        assert another.acquire()
        Inbox(ensuring.inbox_folder(plant.site)).put(
            Wishes(desired=DesiredState(generation=5, revision=1)), now_ns=1
        )
        observed.write_text("the next agent's")
        with pytest.raises(LeaseLost):
            await plant.agent.look()
        assert observed.read_text() == "the next agent's"
        assert len(list(ensuring.inbox_folder(plant.site).iterdir())) == 1

    async def test_with_lost_lease_files_a_higher_number_is_taken(self, tmp_path: Path) -> None:
        plant = AgentPlant(tmp_path)
        plant.lease.acquire(above=41)
        plant.lease.release()
        async with plant.begun():
            assert plant.lease.fence == 43
            name = await one_ready(plant)
        for file in plant.site.agent.glob("lease.*"):
            file.unlink()
        async with plant.begun():
            assert plant.lease.fence == 1
            await plant.look(int(OUTRANKED_S) - 2)
            assert "fencing number 43" in plant.trouble
            with pytest.raises(Outranked) as outranked:
                await plant.look(5)
        lease = plant.new_lease()
        plant.lease.release()
        assert lease.acquire(above=outranked.value.fence)
        assert lease.fence == 44
        lease.release()
        async with plant.begun():
            plant.want(desired(min=2, max=2))
            await plant.look(4)
            assert plant.trouble == ""
            assert len(plant.instances) == 2
            assert name in plant.instances

    async def test_a_number_that_nobody_ever_had_is_not_overtaken(self, plant: AgentPlant) -> None:
        await one_ready(plant)
        (job,) = plant.scheduler.all_jobs()
        plant.scheduler.put(replace(job, job_id="9", instance="odd-1", fence=10**17))
        await plant.look(int(OUTRANKED_S) + 5)
        assert "fencing number" in plant.trouble


class TestCrashes:
    async def test_between_order_and_submit(self, tmp_path: Path) -> None:
        plant = AgentPlant(tmp_path)
        async with plant.begun():
            plant.want(desired())
            await plant.agent.load()
            plant.scheduler.faults.loses_jobs = True  # The order is written, the job never is.
            await plant.look()
            (order,) = plant.instances
        plant.scheduler.faults.loses_jobs = False
        async with plant.begun():
            await plant.look(5)
            assert plant.scheduler.submissions == []  # There may be a job: it was just now.
            await plant.look(int(UNSURE_S + GONE_S))
            assert len(plant.scheduler.submissions) == 1
            assert order not in plant.instances

    async def test_between_submit_and_vouching(self, tmp_path: Path) -> None:
        plant = AgentPlant(tmp_path)
        plant.enrol()
        async with plant.begun():
            name = await one_ready(plant)
            CredentialFile.of(plant.site, name).path.unlink()
        async with plant.begun():
            await plant.look(2)
            assert len(CredentialFile.of(plant.site, name).read()) == 8
            assert plant.instances == [name]

    async def test_between_cancel_and_forgetting(self, tmp_path: Path) -> None:
        plant = AgentPlant(tmp_path)
        async with plant.begun():
            name = await one_ready(plant)
            plant.scheduler.end(*plant.scheduler.ids)
        async with plant.begun():
            await plant.look(6)
            assert len(plant.scheduler.submissions) == 2
            await plant.look(60)
            assert name not in plant.instances
            assert len(plant.scheduler.submissions) == 2

    async def test_an_agent_that_begins_adopts_what_runs(self, tmp_path: Path) -> None:
        plant = AgentPlant(tmp_path)
        async with plant.begun():
            name = await one_ready(plant)
        async with plant.begun():
            status = await plant.look(10)
            assert [one.name for one in status.instances] == [name]
            assert len(plant.scheduler.submissions) == 1


class TestTheDisk:
    @pytest.mark.parametrize("folder", ["orders", "instances", "credentials", "control"])
    async def test_a_folder_that_vanishes_is_trouble_and_no_empty_folder(
        self, plant: AgentPlant, folder: str
    ) -> None:
        name = await one_ready(plant)
        (plant.site.root / folder).rename(plant.site.root / "away")
        with pytest.raises(DiskFailed, match=folder):
            await plant.agent.look()
        (plant.site.root / "away").rename(plant.site.root / folder)
        status = await plant.look(3)
        assert [one.name for one in status.instances] == [name]
        assert len(plant.scheduler.submissions) == 1

    async def test_the_hubs_are_told_and_the_agent_goes_on(self, plant: AgentPlant) -> None:
        name = await one_ready(plant)
        running = asyncio.create_task(plant.agent.run())
        try:
            plant.site.orders.rename(plant.site.root / "away")
            await eventually(lambda: "orders" in plant.trouble)
            status = plant.agent.observation
            assert status is not None
            assert [one.name for one in status.instances] == [name]
            (plant.site.root / "away").rename(plant.site.orders)
            await eventually(lambda: not plant.trouble)
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def test_an_observation_that_cannot_be_written_is_told_all_the_same(
        self, plant: AgentPlant
    ) -> None:
        file = ensuring.observed_file(plant.site)
        file.mkdir()
        plant.want(desired())
        before = plant.told
        with pytest.raises(DiskFailed, match=r"observed\.json"):
            await plant.look()
        assert plant.told > before
        assert plant.agent.observation is not None

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", "[[" * 9000, '{"instance": "another"}', '{"name": "another"}', "\udcff"],
    )
    async def test_damaged_files_of_one_instance_harm_no_other(
        self, plant: AgentPlant, content: str
    ) -> None:
        name = await one_ready(plant)
        for folder in (plant.site.orders, plant.site.instances, plant.site.control):
            (folder / "odd-1.json").write_bytes(content.encode(errors="surrogateescape"))
        status = await plant.look(3)
        assert name in {one.name for one in status.instances}
        assert "fault" not in plant.trouble

    async def test_numbers_that_are_none_are_not_reckoned_with(self, plant: AgentPlant) -> None:
        name = await one_ready(plant)
        for folder in (plant.site.orders, plant.site.instances):
            values = json.loads((folder / f"{name}.json").read_text())
            odd = {"instance": "odd-1", "name": "odd-1", "submitted_at": "now", "heartbeat": "x"}
            known = {field: value for field, value in odd.items() if field in values}
            (folder / "odd-1.json").write_text(json.dumps(values | known))
        status = await plant.look(3)
        assert [one.name for one in status.instances] == [name]

    async def test_a_registration_that_a_dead_instance_left_is_no_instance(
        self, plant: AgentPlant
    ) -> None:
        name = await one_ready(plant)
        plant.silent.add(name)
        plant.scheduler.end(*plant.scheduler.ids)
        status = await plant.look(8)
        assert len(plant.scheduler.submissions) == 2
        states = {one.name: one.state for one in status.instances}
        assert states.pop(name) is InstanceState.READY  # Its own last word, until it is stale.
        status = await plant.look(60)
        assert {one.name: one.state for one in status.instances}[name] is InstanceState.FAILED
        assert name not in plant.instances

    async def test_the_log_says_why_an_instance_is_gone(
        self, plant: AgentPlant, caplog: pytest.LogCaptureFixture
    ) -> None:
        name = await one_ready(plant)
        plant.silent.add(name)
        plant.scheduler.end(*plant.scheduler.ids)
        await plant.look(3)
        file = plant.site.instances / f"{name}.json"
        last = {"state": "failed", "detail": "the engine ended by itself"}
        file.write_text(json.dumps(json.loads(file.read_text()) | last))
        with caplog.at_level("INFO"):
            await plant.look(8)
        said = f"order_done instance={name} state=failed detail=the engine ended by itself"
        assert said in caplog.messages


class TestTheClock:
    @pytest.mark.parametrize("step_s", [7200.0, -7200.0])
    async def test_no_start_is_given_up_because_it_was_set(
        self, plant: AgentPlant, step_s: float
    ) -> None:
        plant.want(desired())
        await plant.look(2)
        (name,) = plant.instances
        (plant.site.instances / f"{name}.json").unlink(missing_ok=True)
        plant.silent.add(name)  # Its job runs, and it has not registered yet.
        await plant.look(3)
        plant.wall += step_s
        await plant.look(10)
        assert len(plant.scheduler.submissions) == 1
        assert plant.instances == [name]


async def test_an_order_of_a_later_version_is_read(plant: AgentPlant) -> None:
    name = await one_ready(plant)
    file = plant.site.orders / f"{name}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"colour": "blue"}))
    assert Order.read(file).model == MODEL
