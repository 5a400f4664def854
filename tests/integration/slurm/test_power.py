"""What befalls the machines of a cluster, and what Slurm makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from compute_functions import processes
from lab.slurm.client import Job
from lab.slurm.cluster import SlurmCluster, slurm_cluster
from lab.slurm.isolation import Isolation, best
from lab.slurm.node import NodeIsOff
from lab.slurm.plan import Clocks
from tests.support.eventually import eventually

#: Leaves the job's session, process group and parent, as a daemon does.
DAEMON = "setsid sh -c 'sleep 1000 & echo $! > daemon; echo > ready' & exec sleep 1000"


@pytest_asyncio.fixture(params=sorted({best(), Isolation.NONE}))
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SlurmCluster]:
    async with slurm_cluster(tmp_path, nodes=2, gpus=1, isolation=request.param) as cluster:
        yield cluster


async def started(cluster: SlurmCluster, script: str, *options: str) -> Job:
    job = await cluster.until(await cluster.submit(script, *options), "RUNNING")
    ready = cluster.home / "ready"
    await eventually(ready.exists)
    return job


async def test_a_node_without_power_takes_everything_along(cluster: SlurmCluster) -> None:
    node, other = cluster.nodes
    job = await started(cluster, DAEMON, f"--nodelist={node}")
    there = {pid: processes.started(pid) for pid in cluster.processes(node)}
    assert len(there) >= 5  # The machine's own, slurmd, the step's, and two that sleep.
    spared = cluster.processes(other)
    await cluster.power_off(node)
    assert [pid for pid, start in there.items() if start and processes.lives(pid, start)] == []
    assert cluster.processes(node) == set()
    assert cluster.processes(other) == spared
    assert (await cluster.job(job.id)).state == "RUNNING"  # Nobody has told Slurm.
    with pytest.raises(NodeIsOff):
        await cluster.partition(node)
    await cluster.power_on(node)
    again = await cluster.submit("true", f"--nodelist={node}")
    await cluster.until(again, "COMPLETED")


async def test_a_node_that_is_cut_off_goes_on_working(cluster: SlurmCluster) -> None:
    node = cluster.nodes[0]
    ticking = "while :; do date +%s%N > tick.new; mv tick.new tick; echo > ready; sleep 0.05; done"
    job = await started(cluster, ticking, f"--nodelist={node}")
    await cluster.partition(node)
    tick = cluster.home / "tick"
    last = tick.read_text()
    await eventually(lambda: tick.read_text() > last)
    await cluster.rejoin(node)
    await cluster.until_nodes([node], "mixed", "allocated")
    assert (await cluster.job(job.id)).state == "RUNNING"
    last = tick.read_text()
    await eventually(lambda: tick.read_text() > last)
    await cluster.cancel(job.id)
    await cluster.until(job.id, "CANCELLED")


async def test_a_controller_comes_back_to_its_jobs(cluster: SlurmCluster) -> None:
    job = await started(cluster, "echo > ready; exec sleep 1000")
    await cluster.stop_controller()
    await cluster.start_controller()
    assert await cluster.jobs() == [job]
    await cluster.kill_controller()
    await cluster.start_controller()
    assert await cluster.jobs() == [job]
    await cluster.cancel(job.id)
    await cluster.until(job.id, "CANCELLED")


async def test_slurm_s_own_clocks(tmp_path: Path) -> None:
    """It misses a node, and ends a job at its walltime: two long waits, in one time."""
    clocks = Clocks(kill_wait_s=2, node_timeout_s=5, message_timeout_s=5)
    async with slurm_cluster(tmp_path, nodes=2, gpus=1, clocks=clocks) as cluster:
        trap = "trap 'echo asked > asked' TERM; echo > ready; while :; do sleep 0.1; done"
        lost, other = cluster.nodes
        expires = await started(cluster, trap, f"--nodelist={other}")
        dies = await started(cluster, "exec sleep 1000", f"--nodelist={lost}", "--no-requeue")
        await cluster.power_off(lost)
        await cluster.expire(expires.id, in_s=1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(cluster.until(dies.id, "NODE_FAIL", within_s=60))
            tasks.create_task(cluster.until_nodes([lost], "down*", within_s=60))
            tasks.create_task(cluster.until(expires.id, "TIMEOUT", within_s=60))
        assert (cluster.home / "asked").read_text() == "asked\n"
        await cluster.power_on(lost)
        again = await cluster.submit("true", f"--nodelist={lost}")
        await cluster.until(again, "COMPLETED")
