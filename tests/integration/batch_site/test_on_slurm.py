"""Batches at a real site: whatever dies, each line has one record, and none is asked again."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from compute_functions import run_request
from compute_functions.contract import FOR_BATCHES, EngineRequest, SiteFailure, read_reply
from compute_functions.contract.batches import BatchState, BatchVerb
from compute_functions.site import VARIABLE
from lab.slurm.cluster import SlurmCluster, slurm_cluster
from lab.slurm.plan import Clocks
from tests.support import batch_engine
from tests.support.agent_site import desired, for_batches
from tests.support.batch_agent_site import BATCH, CHAT, BatchAgentSite, Snapshot, text_of
from tests.support.eventually import eventually, eventually_so
from tests.support.ordered_jobs import FRAMEWORK, MODEL

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
ENGINE = batch_engine.__file__


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SlurmCluster]:
    folder = tmp_path_factory.mktemp("slurm")
    clocks = Clocks(node_timeout_s=10)
    async with slurm_cluster(folder, nodes=2, gpus=2, clocks=clocks) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def site(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BatchAgentSite]:
    made = BatchAgentSite.made(tmp_path, cluster)
    monkeypatch.setenv(VARIABLE, str(made.batches.site.root))
    yield made
    await cluster.run("scancel", "--full", "--user", str(os.getuid()))

    async def are_no_jobs() -> bool:
        return not await cluster.run("squeue", "--noheader", "--format=%i")

    await eventually_so(are_no_jobs, seconds=30)


def check_whole(site: BatchAgentSite, count: int, *snapshots: Snapshot) -> None:
    """Each line has one record, and none that had one was asked again."""
    assert site.records() == [f"line-{number}" for number in range(count)]
    asked = site.asked
    assert [one.asked_again(asked) for one in snapshots] == [[] for _ in snapshots]


def node_of(site: BatchAgentSite, instance: str) -> str:
    """Return the node on which an instance runs."""
    return next(one.host for one in site.agents.instances() if one.name == instance)


async def died(site: BatchAgentSite, node: str, *words: str) -> Snapshot:
    """Kill a process of a node, and return what was recorded once no runner is left there."""
    os.kill(site.process(node, *words), signal.SIGKILL)
    await eventually(lambda: not site.processes(node, "batch", "--epoch"), seconds=60)
    return site.snapshot()


@pytest.mark.row("C-43")
async def test_a_batch_starts_its_model_and_is_done(site: BatchAgentSite) -> None:
    site.agents.want(desired())
    site.submit(100)
    async with site.agents.agent():
        told = await site.ended()
        # Nobody wants the model any more: it goes as if callers had left.
        await eventually(lambda: site.agents.instances("ready"))
    assert (told.state, told.total, told.completed) == (BatchState.COMPLETED, 100, 100)
    check_whole(site, 100)
    assert set(site.asked.values()) == {1}
    assert site.epochs() == [1]


async def resumed(site: BatchAgentSite) -> float:
    """Wait until another line is asked; return how long after the engine's readiness it is."""
    asked = site.asked.total()
    await eventually(lambda: site.asked.total() > asked, seconds=90)
    began_at = time.time()
    await eventually(site.run)
    found = site.run()
    assert found is not None
    ready_at = site.agents.ordered.registered(found[0]).ready_at
    assert ready_at is not None
    return began_at - ready_at


async def test_runner_engine_job_and_agent_are_killed_during_one_batch(
    site: BatchAgentSite, record_property: Callable[[str, object], None]
) -> None:
    site.agents.want(desired())
    site.submit(600)
    snapshots = []
    recorded = 20
    async with site.agents.agent("first") as first:
        for words in (
            ("batch", "--epoch"),
            (ENGINE,),
            ("compute_functions.instance_job",),
        ):
            instance, _ = await site.running(recorded=recorded)
            snapshots.append(await died(site, node_of(site, instance), *words))
            resume_s = await resumed(site)
            if words[0] != "batch":
                # Measured, and bounded elsewhere: this machine may be busy.
                record_property(f"resume_s {words[0].rpartition('/')[2]}", round(resume_s, 2))
            recorded = len(snapshots[-1].recorded) + 20
        instance, run = await site.running(recorded=recorded)
        os.kill(first.pid, signal.SIGKILL)
        before = site.snapshot()
    async with site.agents.agent("second"):
        told = await site.ended()
        await eventually(lambda: site.run() is None)
    assert (told.state, told.completed) == (BatchState.COMPLETED, 600)
    check_whole(site, 600, *snapshots, before)
    # The agent's death ended no runner.
    assert site.epochs() == [1, 2, 3, 4]
    assert run.epoch == 4
    assert told.resumed == 3


async def test_a_node_without_power_loses_no_line(site: BatchAgentSite) -> None:
    site.agents.want(desired())
    site.submit(300)
    async with site.agents.agent():
        instance, _ = await site.running()
        node = node_of(site, instance)
        await site.agents.cluster.power_off(node)
        try:
            snapshot = site.snapshot()
            told = await site.ended()
        finally:
            await site.agents.cluster.power_on(node)
    assert told.completed == 300
    check_whole(site, 300, snapshot)


@pytest.mark.row("C-43")
async def test_a_batch_goes_on_after_its_instances_walltime(site: BatchAgentSite) -> None:
    site.agents.want(desired(min=1))
    site.submit(1200)
    async with site.agents.agent():
        instance, _ = await site.running()
        job = next(one.job_id for one in site.agents.instances() if one.name == instance)
        await site.agents.cluster.expire(int(job), in_s=40)
        told = await site.ended()
        other = site.batches.view().state
    assert other is not None
    assert other.instance != instance
    assert (told.completed, told.resumed) == (1200, 1)
    check_whole(site, 1200)
    # The runner had the time to finish what was under way: nothing was asked twice.
    assert set(site.asked.values()) == {1}


async def asked() -> SiteFailure:
    """Return what a caller is told who comes as a task."""
    request = EngineRequest(
        request_id="r-1",
        framework=FRAMEWORK,
        model=MODEL,
        path=CHAT,
        body=b"{}",
        timeout_s=10.0,
    )
    reply = read_reply(await run_request.answer(request.to_wire()))
    assert isinstance(reply, SiteFailure)
    return reply


@pytest.mark.row("C-43")
async def test_a_batch_has_an_instance_of_its_own_and_callers_have_theirs(
    cluster: SlurmCluster, site: BatchAgentSite
) -> None:
    """Through a walltime: it goes on in another job of its own, and then that ends, too."""
    model = {"batch": {"placement": "own", "concurrency": 4, "idle_timeout": 3}}
    made = BatchAgentSite.made(site.agents.ordered.folder, cluster, model=model)
    made.agents.want(desired(), for_batches(idle_timeout_s=3.0))
    made.submit(600)
    async with made.agents.agent():
        first, _ = await made.running()
        (found,) = made.agents.instances("ready")
        refused = await asked()
        made.agents.demand(waiting=1)
        await cluster.expire(int(found.job_id), in_s=10)
        callers = await made.agents.ready(lambda one: not one.purpose)
        told = await made.ended()
        (second,) = [one for one in made.agents.instances("ready") if one.purpose]
        await made.agents.gone(second.name)
        left = made.agents.instances("ready")
        log = (made.agents.ordered.folder / "agent.log").read_text()
    assert found.purpose == second.purpose == FOR_BATCHES
    # There was one that was ready, and no caller was sent there.
    assert refused.message.endswith("none was started")
    assert [one.name for one in left] == [callers.name]
    given = re.findall(rf"batch_assigned batch={BATCH} instance=(\S+)", log)
    assert given == [first, second.name]
    assert (told.completed, told.resumed) == (600, 1)
    check_whole(made, 600)
    assert set(made.asked.values()) == {1}


async def test_of_two_agents_one_says_who_runs_what(site: BatchAgentSite) -> None:
    site.agents.want(desired())
    site.submit(1000)
    async with site.agents.agent("first") as first:
        await site.running()
        async with site.agents.agent("second"):
            os.kill(first.pid, signal.SIGSTOP)
            try:
                await eventually(lambda: site.agents.fence() == 2, seconds=40)
                fence = site.agents.fence()
            finally:
                os.kill(first.pid, signal.SIGCONT)
            told = await site.ended()
    assert fence == 2
    assert told.completed == 1000
    assert site.epochs() == [1]
    assert set(site.asked.values()) == {1}


@pytest.mark.row("C-54")
async def test_a_cancelled_batch_begins_nothing_and_keeps_what_is_done(
    site: BatchAgentSite,
) -> None:
    site.agents.want(desired())
    site.submit(2000)
    async with site.agents.agent():
        await site.running()
        site.batches.ask(BatchVerb.CANCEL, BATCH)
        await asyncio.sleep(2.0)
        asked = site.asked
        told = await site.ended()
    assert told.state is BatchState.CANCELLED
    assert 20 <= told.completed < 2000
    assert site.asked == asked
    assert sorted(site.records()) == sorted(f"line-{number}" for number in range(2000))


async def test_the_results_of_a_batch_whose_instance_is_gone_need_no_engine(
    site: BatchAgentSite,
) -> None:
    site.agents.want(desired())
    site.submit(1000)
    async with site.agents.agent():
        instance, _ = await site.running()
        # Nobody wants the model any more, and its instance goes.
        site.agents.want()
        job = next(one.job_id for one in site.agents.instances() if one.name == instance)
        await site.agents.cluster.cancel(int(job))
        waiting = await site.until(lambda told: told.state is BatchState.WAITING)
        await site.until(lambda told: "no gateway wants its model" in told.reason)
        asked = site.asked
        site.batches.ask(BatchVerb.CANCEL, BATCH)
        told = await site.ended()
    assert told.state is BatchState.CANCELLED
    assert told.completed >= waiting.completed
    assert site.asked == asked
    assert site.agents.instances("ready") == []
    assert sorted(site.records()) == sorted(f"line-{number}" for number in range(1000))


async def test_people_take_turns(cluster: SlurmCluster, site: BatchAgentSite) -> None:
    """The one who had less goes on, and who gave way goes on later."""
    made = BatchAgentSite.made(site.agents.ordered.folder, cluster, quantum_s=3)
    made.agents.want(desired())
    made.submit(600, "batch_of_ann", share_of="ann")
    async with made.agents.agent():
        await made.running("batch_of_ann")
        made.submit(100, "batch_of_bob", share_of="bob")
        bobs = await made.ended("batch_of_bob")
        under_way = made.report("batch_of_ann")
        anns = await made.ended("batch_of_ann")
    assert (bobs.completed, anns.completed) == (100, 600)
    assert 0 < under_way.completed < 600
    assert anns.resumed >= 1
    asked = made.asked
    assert {asked[text_of("batch_of_ann", number)] for number in range(600)} == {1}
