"""Jobs on a cluster of the lab: where they run, what they get, who waits and who yields."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.slurm.client import CommandFailed, Job, WaitedInVain
from lab.slurm.cluster import SlurmCluster
from tests.support.eventually import eventually

FOREVER = "echo $CUDA_VISIBLE_DEVICES; exec sleep 1000"


async def running(slurm: SlurmCluster, *options: str, script: str = FOREVER) -> Job:
    return await slurm.until(await slurm.submit(script, *options), "RUNNING")


def output(slurm: SlurmCluster, job: Job) -> Path:
    return slurm.home / f"slurm-{job.id}.out"


async def gpus(slurm: SlurmCluster, job: Job) -> set[int]:
    path = output(slurm, job)
    await eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return {int(number) for number in path.read_text().split(",")}


async def test_a_job_runs_on_a_node_and_leaves_its_output(slurm: SlurmCluster) -> None:
    node = slurm.nodes[1]
    submitted = await slurm.submit(
        "echo $SLURMD_NODENAME $(hostname); pwd", f"--nodelist={node}", "--job-name=a name"
    )
    job = await slurm.until(submitted, "COMPLETED")
    assert (job.nodes, job.name, job.partition, job.comment) == (node, "a name", "gpu", "")
    said, folder = output(slurm, job).read_text().splitlines()
    named, host = said.split()
    assert named == node
    assert (host == node) is slurm.isolation.names_nodes
    assert Path(folder) == slurm.home


async def test_a_comment_is_kept_with_everything_in_it(slurm: SlurmCluster) -> None:
    job = await running(slurm, "--comment=m=a|b;i=1 2")
    assert job.comment == "m=a|b;i=1 2"


async def test_a_job_may_span_nodes(slurm: SlurmCluster) -> None:
    submitted = await slurm.submit(
        "srun sh -c 'echo $SLURMD_NODENAME'", "--nodes=2", "--gres=gpu:4"
    )
    job = await slurm.until(submitted, "COMPLETED")
    nodes = output(slurm, job).read_text().split()
    assert len(set(nodes)) == 2
    assert set(nodes) < set(slurm.nodes)


async def test_jobs_on_one_node_have_different_gpus(slurm: SlurmCluster) -> None:
    node = f"--nodelist={slurm.nodes[0]}"
    jobs = [await running(slurm, node, f"--gres=gpu:{count}") for count in (2, 1, 1)]
    numbers = [await gpus(slurm, job) for job in jobs]
    assert [len(each) for each in numbers] == [2, 1, 1]
    assert set.union(*numbers) == {0, 1, 2, 3}


async def test_who_finds_no_gpu_waits_until_one_is_free(slurm: SlurmCluster) -> None:
    node = f"--nodelist={slurm.nodes[0]}"
    first = await running(slurm, node, "--gres=gpu:3")
    second = await slurm.submit(FOREVER, node, "--gres=gpu:2")
    with pytest.raises(WaitedInVain, match="Resources"):
        await slurm.until(second, "RUNNING", within_s=2.5)
    await slurm.cancel(first.id)
    assert len(await gpus(slurm, await slurm.until(second, "RUNNING"))) == 2


async def test_a_hot_job_takes_the_place_of_one_on_demand(slurm: SlurmCluster) -> None:
    node = f"--nodelist={slurm.nodes[0]}"
    victim = await running(slurm, node, "--gres=gpu:4", "--partition=on-demand", "--no-requeue")
    bystander = await running(slurm, f"--nodelist={slurm.nodes[1]}", "--partition=on-demand")
    await running(slurm, node, "--gres=gpu:4", "--partition=hot")
    await slurm.until(victim.id, "PREEMPTED")
    assert (await slurm.job(bystander.id)).state == "RUNNING"


async def test_a_scavenger_goes_back_into_the_queue(slurm: SlurmCluster) -> None:
    node = f"--nodelist={slurm.nodes[0]}"
    victim = await running(slurm, node, "--gres=gpu:4", "--partition=scavenge")
    winner = await running(slurm, node, "--gres=gpu:4")
    await slurm.until(victim.id, "PENDING")
    await slurm.cancel(winner.id)
    await slurm.until(victim.id, "RUNNING")


async def test_nobody_yields_to_an_equal(slurm: SlurmCluster) -> None:
    node = f"--nodelist={slurm.nodes[0]}"
    first = await running(slurm, node, "--gres=gpu:4")
    hot = await slurm.submit(FOREVER, node, "--gres=gpu:4", "--partition=hot")
    with pytest.raises(WaitedInVain, match="PENDING"):
        await slurm.until(hot, "RUNNING", within_s=2.5)
    assert (await slurm.job(first.id)).state == "RUNNING"


async def test_a_node_that_drains_takes_no_further_jobs(slurm: SlurmCluster) -> None:
    node = slurm.nodes[0]
    first = await running(slurm, f"--nodelist={node}")
    await slurm.drain(node, reason="maintenance")
    second = await slurm.submit(FOREVER, f"--nodelist={node}")
    assert (await slurm.until(second, "PENDING")).nodes == ""
    assert (await slurm.job(first.id)).state == "RUNNING"
    await slurm.until_nodes([node], "draining")
    await slurm.resume(node)
    await slurm.until(second, "RUNNING")


async def test_nobody_waits_for_a_job_that_has_ended_otherwise(slurm: SlurmCluster) -> None:
    job = await slurm.submit("exit 3")
    with pytest.raises(WaitedInVain, match=r"ended: .*FAILED"):
        await slurm.until(job, "PREEMPTED", within_s=3600)


async def test_a_command_that_fails_says_why(slurm: SlurmCluster) -> None:
    with pytest.raises(CommandFailed, match="invalid partition") as refused:
        await slurm.submit("true", "--partition=nowhere")
    assert refused.value.status == 1
    with pytest.raises(CommandFailed):
        await slurm.job(4_000_000)
