"""The real agent on real Slurm: models come when they are wanted, and stay whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lab.slurm.cluster import SlurmCluster, slurm_cluster
from tests.support.agent_site import AgentSite, desired
from tests.support.eventually import eventually, eventually_so

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SlurmCluster]:
    folder = tmp_path_factory.mktemp("slurm")
    async with slurm_cluster(folder, nodes=3, gpus=2) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def site(cluster: SlurmCluster, tmp_path: Path) -> AsyncIterator[AgentSite]:
    yield AgentSite.made(tmp_path, cluster)
    await cluster.run("scancel", "--full", "--user", str(os.getuid()))
    await eventually_no_jobs(cluster)


async def eventually_no_jobs(cluster: SlurmCluster) -> None:
    async def are_none() -> bool:
        return not await jobs(cluster)

    await eventually_so(are_none, seconds=30)


async def jobs(cluster: SlurmCluster) -> list[str]:
    return (await cluster.run("squeue", "--noheader", "--format=%i")).split()


@pytest.mark.row("A-2", "C-59")
async def test_a_hot_model_is_started_without_anybody_asking(site: AgentSite) -> None:
    site.want(desired(min=1))
    async with site.agent():
        instance = await site.ready()
        status = site.status()
    assert instance.host in site.cluster.nodes
    assert instance.job_id in await jobs(site.cluster)
    assert (instance.gpus, instance.walltime_s) == (1, 600.0)
    assert status is not None
    assert status.agent is not None
    assert (status.agent.revision, status.agent.trouble) == (1, "")
    # The agent has gone; what it started goes on.
    assert site.ordered.state(instance.name) == "ready"


@pytest.mark.row("C-60", "L-24", "L-28")
async def test_a_cold_model_comes_when_it_is_wanted_and_goes_when_nobody_uses_it(
    site: AgentSite,
) -> None:
    site.want(desired(idle_timeout_s=2.0))
    async with site.agent():
        await eventually(site.status)
        assert site.instances() == []
        site.demand(waiting=1)
        instance = await site.ready()
        site.demand(used_s=0.0)
        await site.gone(instance.name)
        await eventually(lambda: not list(site.ordered.site.orders.iterdir()))
    assert site.ordered.state(instance.name) == "stopped"


@pytest.mark.row("L-32")
async def test_a_model_that_is_removed_goes_on_running_and_may_come_back(site: AgentSite) -> None:
    site.want(desired(min=1))
    async with site.agent():
        before = await site.ready()
        site.want()

        def has_taken(revision: int, *, models: int) -> bool:
            seen = site.status()
            if seen is None or seen.agent is None or seen.agent.revision != revision:
                return False
            return len(seen.outlooks) == models

        await eventually(lambda: has_taken(2, models=0))
        # What is decided by it is done before the next look.
        seen = site.status()
        assert seen is not None
        await eventually(lambda: (site.status() or seen).observed_at > seen.observed_at + 3)
        assert [(one.name, one.state) for one in site.instances()] == [(before.name, "ready")]
        site.want(desired(min=1))
        await eventually(lambda: has_taken(3, models=1))
        assert [one.name for one in site.instances()] == [before.name]
    assert await jobs(site.cluster) == [before.job_id]


async def test_an_agent_that_dies_costs_nothing(site: AgentSite) -> None:
    site.want(desired(min=1))
    async with site.agent("first") as first:
        before = await site.ready()
        os.kill(first.pid, signal.SIGKILL)
    async with site.agent("second"):
        await eventually(lambda: site.fence() == 2)
        await asyncio.sleep(3)
        assert [one.name for one in site.instances("ready")] == [before.name]
        assert await jobs(site.cluster) == [before.job_id]


async def test_of_two_agents_one_acts_and_who_wakes_up_late_does_nothing(site: AgentSite) -> None:
    site.want(desired(min=1))
    async with site.agent("first") as first:
        before = await site.ready()
        async with site.agent("second"):
            os.kill(first.pid, signal.SIGSTOP)
            try:
                await eventually(lambda: site.fence() == 2, seconds=30)
                site.want(desired(min=2, max=2))
                await eventually(lambda: len(site.instances("ready")) == 2, seconds=40)
            finally:
                os.kill(first.pid, signal.SIGCONT)
            await asyncio.sleep(3)
            assert len(await jobs(site.cluster)) == 2
            assert before.name in {one.name for one in site.instances("ready")}
            assert site.fence() == 2


async def test_a_node_that_loses_its_power_is_replaced_elsewhere(site: AgentSite) -> None:
    site.want(desired(min=1))
    async with site.agent():
        before = await site.ready()
        await site.cluster.power_off(before.host)
        try:
            after = await site.ready(lambda one: one.name != before.name)
            assert after.host != before.host
        finally:
            await site.cluster.power_on(before.host)


@pytest.mark.row("L-22", "L-23", "A-19")
async def test_a_successor_is_ready_before_the_walltime_ends(site: AgentSite) -> None:
    site.want(desired(min=1))
    async with site.agent():
        before = await site.ready()
        await site.cluster.expire(int(before.job_id), in_s=45)
        after = await site.ready(lambda one: one.name != before.name)
        assert site.ordered.state(before.name) in {"ready", "draining", "stopped"}
        assert (after.ready_at or 0) < (before.ends_at or 0)
        await site.gone(before.name)
        assert site.ordered.state(after.name) == "ready"
