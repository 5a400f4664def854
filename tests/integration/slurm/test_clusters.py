"""Clusters side by side, and what is left of one that has ended, in whatever way."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from compute_functions import processes
from lab.slurm.client import Access, Client, CommandFailed
from lab.slurm.cluster import slurm_cluster
from lab.slurm.isolation import Isolation, best
from lab.slurm.plan import PlanRefused
from lab.system import packages
from tests.support.eventually import eventually

#: A lab with a job that has put itself into the background; it says what there is, and waits.
LAB = """
import asyncio, os, sys
from pathlib import Path
from lab import descent
from lab.slurm.cluster import slurm_cluster
from lab.slurm.isolation import Isolation

async def main(folder, isolation):
    async with slurm_cluster(folder, nodes=2, isolation=isolation) as cluster:
        for node in cluster.nodes:
            job = await cluster.submit("setsid sleep 1000 & exec sleep 1000", f"--nodelist={node}")
            await cluster.until(job, "RUNNING")
        print(cluster.environment()["SLURM_CONF"], *descent.descendants(os.getpid()), flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1]), Isolation(sys.argv[2])))
"""


def alive(pids: dict[int, int | None]) -> list[int]:
    return [pid for pid, start in pids.items() if start and processes.lives(pid, start)]


async def test_clusters_live_side_by_side(tmp_path: Path) -> None:
    async with (
        slurm_cluster(tmp_path, name="one", nodes=2, gpus=1) as one,
        slurm_cluster(tmp_path, name="two", nodes=1, gpus=2) as two,
    ):
        assert one.nodes == ("one-n1", "one-n2")
        assert two.nodes == ("two-n1",)
        assert len({one.address("one-n1"), one.address("one-n2"), two.address("two-n1")}) == 3
        here = await one.submit("exec sleep 1000", "--gres=gpu:1")
        there = await two.submit("exec sleep 1000", "--gres=gpu:2")
        assert (await one.until(here, "RUNNING")).nodes in one.nodes
        assert (await two.until(there, "RUNNING")).nodes in two.nodes
        assert [job.id for job in await one.jobs()] == [here]
        with pytest.raises(CommandFailed, match="configuration is not available"):
            await one.submit("true", "--gres=gpu:2")


async def test_a_node_s_address_is_its_own(tmp_path: Path) -> None:
    async with slurm_cluster(tmp_path, nodes=2, gpus=0) as cluster:
        for node in cluster.nodes:
            serve = f"exec python3 -u -m http.server --bind {cluster.address(node)} 8000 2>&1"
            job = await cluster.submit(serve, f"--nodelist={node}")
            said = cluster.home / f"slurm-{job}.out"

            def serves(said: Path = said) -> bool:
                return said.exists() and "Serving" in said.read_text()

            await eventually(serves)


async def test_another_cluster_s_key_opens_nothing(tmp_path: Path) -> None:
    async with (
        slurm_cluster(tmp_path, name="one", nodes=1) as one,
        slurm_cluster(tmp_path, name="two", nodes=1) as two,
    ):
        ours, theirs = (Path(each.environment()["SLURM_CONF"]) for each in (one, two))
        mixed = tmp_path / "slurm.conf"
        ours_run, theirs_run = (str(each.parents[1] / "run") for each in (ours, theirs))
        mixed.write_text(theirs.read_text().replace(theirs_run, ours_run))
        programs = packages.SLURM_CLIENT.find().parent
        thief = Client(Access(configuration=mixed, programs=programs, home=tmp_path))
        with pytest.raises(CommandFailed, match="squeue"):
            await thief.run("squeue")
        said = (tmp_path / "two" / "logs" / "slurmctld.log").read_text()
        assert "Munge decode failed: Invalid credential" in said


async def test_nothing_is_left_of_a_cluster_that_has_ended(tmp_path: Path) -> None:
    async with slurm_cluster(tmp_path, nodes=2) as cluster:
        home = Path(cluster.environment()["SLURM_CONF"]).parents[1]
        job = await cluster.submit("setsid sleep 1000 & exec sleep 1000")
        node = (await cluster.until(job, "RUNNING")).nodes
        there = {pid: processes.started(pid) for pid in cluster.processes(node)}
        assert (home / "run" / "munge.socket").is_socket()
    assert alive(there) == []
    assert not home.exists()
    # What people want to read afterwards stays.
    assert f"JobId={job} " in (tmp_path / "lab" / "logs" / "slurmctld.log").read_text()


@pytest.mark.parametrize("isolation", sorted({best(), Isolation.NONE}))
async def test_nothing_is_left_of_a_lab_that_is_killed(
    tmp_path: Path, isolation: Isolation
) -> None:
    lab = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LAB, str(tmp_path), isolation), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert lab.stdout is not None
        configuration, *pids = (await asyncio.wait_for(lab.stdout.readline(), 60)).split()
        there = {int(pid): processes.started(int(pid)) for pid in pids}
        assert len(alive(there)) >= 12  # 3 daemons, the sweeper, 2 nodes with 4 or more each.
    finally:
        if lab.returncode is None:
            lab.kill()
        await lab.wait()
    await eventually(lambda: alive(there) == [])
    await eventually(lambda: not Path(configuration.decode()).parents[1].exists())


async def test_a_plan_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(PlanRefused, match="small letters"):
        async with slurm_cluster(tmp_path, name="Site A"):
            pass
    with pytest.raises(PlanRefused, match="1 to 250 nodes"):
        async with slurm_cluster(tmp_path, nodes=0):
            pass
    assert not (tmp_path / "lab").exists()
