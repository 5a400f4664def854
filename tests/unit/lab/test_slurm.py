"""A cluster of the lab on paper: its plan, its files by Slurm's version, what squeue says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.slurm import network
from lab.slurm.client import Job
from lab.slurm.configuration import Configuration, Files
from lab.slurm.network import Network
from lab.slurm.plan import Clocks, Plan, PlanRefused


def configuration(tmp_path: Path, *, gpus: int = 2, version: tuple[int, int]) -> Configuration:
    plan = Plan(name="site", nodes=2, gpus=gpus, clocks=Clocks(kill_wait_s=7))
    home = tmp_path / "home"
    home.mkdir()
    files = Files.made(home, tmp_path / "logs of a run", plan)
    return Configuration.drawn(plan, files, Network(prefix="127.9.8"), version=version)


@pytest.mark.parametrize(
    ("version", "plugin"),
    [((22, 5), "cgroup/v1"), ((23, 2), "disabled"), ((24, 11), "disabled")],
)
def test_cgroups_are_switched_off_in_each_version_s_way(
    tmp_path: Path, version: tuple[int, int], plugin: str
) -> None:
    texts = configuration(tmp_path, version=version).texts()
    assert texts["cgroup.conf"] == f"CgroupPlugin={plugin}\n"


def test_each_node_has_an_address_a_port_and_its_gpus(tmp_path: Path) -> None:
    drawn = configuration(tmp_path, version=(22, 5))
    drawn.write()
    slurm = drawn.files.configuration.read_text()
    first, second = (line for line in slurm.splitlines() if line.startswith("NodeName="))
    assert first.startswith("NodeName=site-n1 ")
    assert f"NodeAddr=127.9.8.1 Port={drawn.node_ports[0]} " in first
    assert f"NodeAddr=127.9.8.2 Port={drawn.node_ports[1]} " in second
    assert first.endswith("Gres=gpu:a100:2")
    assert len({drawn.controller_port, *drawn.node_ports}) == 3
    assert "KillWait=7\n" in slurm
    devices = drawn.files.devices
    assert [path.name for path in sorted(devices.iterdir())] == ["gpu0", "gpu1"]
    gres = drawn.files.configuration.with_name("gres.conf").read_text()
    assert f"NodeName=site-n1 Name=gpu Type=a100 File={devices}/gpu[0-1]\n" in gres


def test_a_cluster_may_have_no_gpus(tmp_path: Path) -> None:
    texts = configuration(tmp_path, gpus=0, version=(24, 11)).texts()
    assert "Gres" not in texts["slurm.conf"]
    assert texts["gres.conf"] == ""


@pytest.mark.parametrize(
    ("name", "nodes", "gpus", "why"),
    [
        ("Site", 1, 1, "small letters"),
        ("a-b", 1, 1, "small letters"),
        ("site", 0, 1, "1 to 250 nodes"),
        ("site", 251, 1, "1 to 250 nodes"),
        ("site", 1, -1, "-1 GPUs"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, nodes: int, gpus: int, why: str) -> None:
    with pytest.raises(PlanRefused, match=why):
        Plan(name=name, nodes=nodes, gpus=gpus)


def test_a_wait_that_slurm_would_not_keep_is_refused() -> None:
    with pytest.raises(PlanRefused, match="after 5 s, not 2"):
        Clocks(requeue_s=2)


def test_a_network_is_lent_to_one_at_a_time() -> None:
    with network.reserved() as one, network.reserved() as other:
        assert one != other
        assert one.address(3) == f"{one.prefix}.3"
        assert one.prefix.startswith("127.")


def test_a_job_is_read_with_whatever_its_comment_holds() -> None:
    job = Job.parse("17|PENDING||Resources|gpu|llama|m=a|b;i=1")
    assert (job.id, job.state, job.nodes, job.reason) == (17, "PENDING", "", "Resources")
    assert (job.partition, job.name, job.comment) == ("gpu", "llama", "m=a|b;i=1")
    assert Job.parse("18|RUNNING|n[1-2]|None|hot|x|(null)").comment == ""
