"""The job of an instance on a real Slurm: ready, drained at its end, cancelled, without power."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from compute_functions import instances
from compute_functions.contract import InstanceState
from lab.slurm.client import ENDED
from lab.slurm.cluster import SlurmCluster, slurm_cluster
from lab.slurm.plan import Clocks
from lab.system.packages import PackageMissing
from tests.support.asking_hub import hub_that_asks
from tests.support.eventually import eventually
from tests.support.ordered_jobs import INSTANCE, MODEL, PATH, OrderedSite

OPTIONS = ("--time=10", "--gres=gpu:2", "--no-requeue")


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SlurmCluster]:
    clocks = Clocks(kill_wait_s=5, node_timeout_s=10)
    try:
        async with slurm_cluster(tmp_path, nodes=1, gpus=4, clocks=clocks) as cluster:
            yield cluster
    except PackageMissing as error:
        pytest.skip(str(error))


async def submitted(cluster: SlurmCluster, ordered: OrderedSite) -> int:
    """Submit a job as the driver's script is: our program takes the shell's place."""
    log = ordered.site.logs / f"{INSTANCE}.job.log"
    script = f"exec {shlex.join(ordered.job_command())}"
    return await cluster.submit(script, *OPTIONS, f"--output={log}")


async def ready(ordered: OrderedSite) -> None:
    await eventually(lambda: ordered.state() == "ready", seconds=60)


@pytest.mark.row("A-2", "A-19", "L-22")
async def test_a_stream_at_the_end_of_a_walltime_that_was_moved_ends_whole(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    async with hub_that_asks() as (hub, address):
        ordered = OrderedSite.made(tmp_path, job={"drain_before_s": 25}).enrolled(address)
        ordered.order()
        job = await submitted(cluster, ordered)
        ordered.vouch(str(job))
        await ready(ordered)
        await hub.linked()
        found = ordered.registered()
        told = await (await hub.ask(json.dumps({"model": MODEL}).encode(), path=PATH)).whole()
        await eventually(lambda: (ordered.registered().ends_at or 0) > time.time() + 400)
        asked = json.dumps({"model": MODEL, "tokens": 80, "every_s": 0.1}).encode()
        under_way = await hub.ask(asked, path=PATH)
        await under_way.until(10)
        await cluster.expire(job, in_s=24)
        await hub.until(hub.drained.is_set)
        await eventually(lambda: ordered.state() == "draining")
        said = await under_way.whole()
        ended = await cluster.until(job, *ENDED)

    assert said.endswith(b'data: {"n": 80}\n\ndata: [DONE]\n\n')
    assert ended.state == "COMPLETED", "it left before Slurm had to end it"
    assert json.loads(told)["gpus"] == "0,1"
    assert (found.job_id, found.node) == (str(job), cluster.nodes[0])
    last = ordered.registered()
    assert (last.state, last.detail) == (InstanceState.STOPPED, "its walltime is nearly over")
    ordered.nothing_is_left()


async def test_what_is_under_way_at_a_cancel_has_what_slurm_s_patience_leaves(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    """Five seconds pass between SIGTERM and SIGKILL, and every process of the job gets both."""
    async with hub_that_asks() as (hub, address):
        ordered = OrderedSite.made(tmp_path, job={"kill_wait_s": 5}).enrolled(address)
        ordered.order()
        job = await submitted(cluster, ordered)
        ordered.vouch(str(job))
        await ready(ordered)
        await hub.linked()
        asked = json.dumps({"model": MODEL, "tokens": 20, "every_s": 0.1}).encode()
        under_way = await hub.ask(asked, path=PATH)
        await under_way.until(10)
        await cluster.cancel(job)
        said = await under_way.whole()
        await cluster.until(job, *ENDED)

    assert said.endswith(b'data: {"n": 20}\n\ndata: [DONE]\n\n')
    await eventually(lambda: ordered.state() == "stopped")
    ordered.nothing_is_left()


async def test_a_job_that_is_cancelled_says_goodbye(cluster: SlurmCluster, tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path, job={"kill_wait_s": 5})
    ordered.order()
    job = await submitted(cluster, ordered)
    await ready(ordered)
    await cluster.cancel(job)
    await cluster.until(job, *ENDED)

    await eventually(lambda: ordered.state() == "stopped")
    assert ordered.registered().detail == "the scheduler ends it"
    ordered.nothing_is_left()


async def test_a_node_without_power_leaves_a_heartbeat_that_grows_old(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    job = await submitted(cluster, ordered)
    await ready(ordered)
    first = ordered.registered().heartbeat
    await eventually(lambda: ordered.registered().heartbeat > first)
    await cluster.power_off(cluster.nodes[0])

    last = ordered.registered()
    assert last.state is InstanceState.READY, "nobody was left to write another"
    assert (await cluster.job(job)).state == "RUNNING"
    later = last.heartbeat + instances.STALE_AFTER_S + 1
    (seen,) = instances.observed(ordered.site, later)
    assert seen.state is InstanceState.FAILED
    assert ordered.registered().heartbeat == last.heartbeat
