"""The provider driver on real Slurm: what it asks for, what it sees, and whom it leaves alone."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from compute_functions.drivers import Job, JobState
from compute_functions.drivers.provider import ProviderDriver
from compute_functions.errors import DriverFailed, SubmissionRefused
from compute_functions.orders import Order
from compute_functions.site_config import scheduler_check
from tests.support.eventually import eventually, eventually_so
from tests.support.slurm_driver import DriverSite
from tests.support.slurm_site import MODEL, order

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


async def running(driver: ProviderDriver, instance: str) -> Job:
    """Return an instance's job when it runs."""
    found: list[Job] = []

    async def runs() -> bool:
        found[:] = [job for job in await driver.jobs() if job.instance == instance]
        return bool(found) and found[0].state is JobState.RUNNING

    await eventually_so(runs, every_s=0.1)
    return found[0]


async def running_once(driver: ProviderDriver, asked: Order) -> Job:
    """Submit a job, and return it when it runs."""
    await driver.submit(asked)
    return await running(driver, asked.instance)


@pytest.mark.row("L-20", "L-22")
async def test_a_job_is_what_its_order_says(site: DriverSite) -> None:
    driver = site.driver(GLOBUS_COMPUTE_CLIENT_SECRET="s3cret", SBATCH_PARTITION="scavenge")
    asked = order("org-tiny-000000a1", gpus=2)

    job_id = await driver.submit(asked)
    job = await running(driver, asked.instance)
    await eventually(lambda: "begun" in site.printed(asked.instance))

    assert (job.job_id, job.model, job.generation, job.fence) == (job_id, MODEL, 3, 7)
    assert job.nodes[0] in site.cluster.nodes
    assert job.limit_s == 600
    assert job.left_s is not None
    assert 580 < job.left_s <= 600
    assert job.submitted_at == pytest.approx(time.time(), abs=30)
    printed = site.printed(asked.instance)
    root = site.site.root
    assert f"-m compute_functions.instance_job --site-dir {root} --instance" in printed
    assert f"HOTNODE_SITE_DIR={root}\n" in printed
    assert f"PWD={root}\n" in printed
    assert "SLURM_JOB_PARTITION=gpu\n" in printed
    assert "SLURM_GPUS_ON_NODE=2\n" in printed
    assert "s3cret" not in printed
    shown = await site.cluster.run("scontrol", "--oneliner", "show", "job", job_id)
    assert "Requeue=0 " in shown
    assert "JobName=hotnode-org-tiny " in shown


async def test_the_site_s_own_wishes_reach_the_job(tmp_path: Path, site: DriverSite) -> None:
    (tmp_path / "own").mkdir()
    own = DriverSite(
        tmp_path / "own",
        site.cluster,
        provider={
            "scheduler_options": "#SBATCH --nice=7",
            "worker_init": "export FROM_INIT=yes",
            "cores_per_node": 3,
            "mem_per_node": 2,
        },
        hot={"partition": "hot"},
        job={"python": str(tmp_path / "job.sh"), "environment": {"QUOTED": "it's $HOME"}},
    )
    asked = order("org-tiny-000000a2", hot=True)

    job_id = await own.driver().submit(asked)
    await eventually(lambda: "begun" in own.printed(asked.instance))

    printed = own.printed(asked.instance)
    assert "SLURM_JOB_PARTITION=hot\n" in printed
    assert "FROM_INIT=yes\n" in printed
    assert "QUOTED=it's $HOME\n" in printed
    assert "SLURM_CPUS_PER_TASK=3\n" in printed
    shown = await site.cluster.run("scontrol", "--oneliner", "show", "job", job_id)
    assert "Nice=7 " in shown
    assert "MinMemoryNode=2G " in shown


async def test_an_end_that_an_operator_moved_is_seen(site: DriverSite) -> None:
    driver = site.driver()
    job_id = await driver.submit(order("org-tiny-00000d01", walltime_s=3600))
    await running(driver, "org-tiny-00000d01")

    await site.cluster.run("scontrol", "update", f"JobId={job_id}", "EndTime=now+100")

    (job,) = await driver.jobs()
    assert job.left_s is not None
    assert 60 < job.left_s <= 101


async def test_excluded_nodes_are_avoided(site: DriverSite) -> None:
    driver = site.driver()
    first, second = site.cluster.nodes

    await driver.submit(order("org-tiny-000000b1"), exclude=[first])
    await driver.submit(order("org-tiny-000000b2"), exclude=[second])

    assert (await running(driver, "org-tiny-000000b1")).nodes == (second,)
    assert (await running(driver, "org-tiny-000000b2")).nodes == (first,)


async def test_a_cancelled_job_is_told_and_gone(site: DriverSite) -> None:
    driver = site.driver()
    asked = order("org-tiny-000000c1")
    job_id = await driver.submit(asked)
    await eventually(lambda: "begun" in site.printed(asked.instance))

    # As after a restart: another driver than the one that submitted it.
    await site.driver().cancel([job_id])

    await eventually(lambda: "told to end" in site.printed(asked.instance))

    async def gone() -> bool:
        return not await driver.jobs()

    await eventually_so(gone, every_s=0.1)
    await driver.cancel([job_id, "987654"])


async def test_a_waiting_job_says_why_and_where_it_stands(site: DriverSite) -> None:
    driver = site.driver()
    for number in range(4):
        await driver.submit(order(f"org-tiny-000000d{number}", gpus=4))

    seen: dict[str, Job] = {}

    async def estimated() -> bool:
        seen.update({job.instance: job for job in await driver.jobs()})
        waiting = [job for job in seen.values() if job.state is JobState.PENDING]
        places = [job.ahead for job in waiting]
        # Slurm says why a job waits when it has looked at it, and that may be later.
        told = all(job.starts_at and job.reason for job in waiting)
        return sorted(places, key=str) == [0, 1] and told

    await eventually_so(estimated, seconds=30, every_s=0.2)
    third, fourth = seen["org-tiny-000000d2"], seen["org-tiny-000000d3"]
    assert third.reason == "Resources"
    assert fourth.reason in {"Priority", "Resources"}
    assert (third.ahead, fourth.ahead) == (0, 1)
    assert (third.nodes, third.left_s) == ((), None)
    assert third.starts_at == pytest.approx(time.time() + 600, abs=60)


async def test_the_start_of_a_job_is_estimated_without_submitting_it(site: DriverSite) -> None:
    driver = site.driver()
    asked = order("org-tiny-000000e1", gpus=4)

    assert await driver.starts_in(asked) == pytest.approx(0, abs=5)
    for number in range(2):
        await driver.submit(order(f"org-tiny-000000e{number + 2}", gpus=4))
    wait = await driver.starts_in(asked)

    assert wait == pytest.approx(600, abs=60)
    assert len(await driver.jobs()) == 2


async def test_what_slurm_refuses_is_said_in_its_words(site: DriverSite) -> None:
    driver = site.driver()
    impossible = order("org-tiny-000000f1", gpus=9)

    with pytest.raises(SubmissionRefused, match=r"^sbatch: error: .*Requested node configuration"):
        await driver.submit(impossible)
    with pytest.raises(DriverFailed, match=r"^sbatch --test-only: .*Requested node") as caught:
        await driver.starts_in(impossible)
    assert str(caught.value).count("sbatch: ") == 0
    assert await driver.jobs() == ()


async def test_a_job_without_gpus_asks_for_none_and_waits_for_none(site: DriverSite) -> None:
    driver = site.driver()
    for number in range(2):
        await running_once(driver, order(f"org-tiny-00000c0{number}", gpus=4))

    job = await running_once(driver, order("org-tiny-00000c09", gpus=0))

    shown = await site.cluster.run("scontrol", "--oneliner", "show", "job", job.job_id)
    assert "gres" not in shown.casefold()
    await eventually(lambda: "begun" in site.printed(job.instance))
    assert "SLURM_GPUS_ON_NODE=" not in site.printed(job.instance)


async def test_the_check_of_a_site_file_asks_the_scheduler_itself(
    tmp_path: Path, site: DriverSite
) -> None:
    ours = dict(os.environ) | site.cluster.environment()
    assert await scheduler_check.problems(site.config, ours) == []
    (tmp_path / "other").mkdir()
    changes = {"partition": "none", "constraint": "h100"}
    other = DriverSite(tmp_path / "other", site.cluster, provider=changes)
    (said,) = await scheduler_check.problems(other.config, ours)
    assert said.startswith("partition 'none': the scheduler has none of that name; it has ")
    (tmp_path / "third").mkdir()
    third = DriverSite(tmp_path / "third", site.cluster, provider={"constraint": "h100"})
    (said,) = await scheduler_check.problems(third.config, ours)
    assert said == "constraint 'h100': no node of gpu has the feature h100"


async def test_foreign_jobs_are_not_ours(site: DriverSite) -> None:
    driver = site.driver()
    comment = 'hotnode:i=x;g=1|2\n1|RUNNING|gpu|n1|1:00|1:00|None|1|1|other ; "q"'
    foreign = await site.cluster.submit("sleep 600", f"--comment={comment}", "--job-name=hotnode-x")
    await driver.submit(order("org-tiny-00000a01"))

    async def runs() -> bool:
        state = await site.cluster.run("squeue", "-h", f"--jobs={foreign}", "--format=%T")
        return state.strip() == "RUNNING"

    await eventually_so(runs, every_s=0.1)
    (job,) = await driver.jobs()
    await driver.cancel([job.job_id])

    assert job.instance == "org-tiny-00000a01"
    assert await runs()


async def test_one_account_may_serve_several_sites(tmp_path: Path, site: DriverSite) -> None:
    (tmp_path / "other").mkdir()
    other = DriverSite(tmp_path / "other", site.cluster)
    await site.driver().submit(order("org-tiny-00000a11"))
    await other.driver().submit(order("org-tiny-00000a12"))

    assert [job.instance for job in await site.driver().jobs()] == ["org-tiny-00000a11"]
    assert [job.instance for job in await other.driver().jobs()] == ["org-tiny-00000a12"]


async def test_capacity_counts_gpus_in_use(site: DriverSite) -> None:
    driver = site.driver()
    before = await driver.capacity()
    await driver.submit(order("org-tiny-00000b01", gpus=3))
    await running(driver, "org-tiny-00000b01")

    after = await driver.capacity()

    assert (before.gpus, before.free_gpus, before.down) == (8, 8, frozenset())
    assert set(before.nodes) == set(site.cluster.nodes)
    assert (after.gpus, after.free_gpus) == (8, 5)


async def test_a_node_without_power_is_down(site: DriverSite) -> None:
    driver = site.driver()
    dead = site.cluster.nodes[1]
    await site.cluster.power_off(dead)
    try:

        async def noticed() -> bool:
            return (await driver.capacity()).down == {dead}

        await eventually_so(noticed, seconds=60, every_s=0.5)
        assert (await driver.capacity()).gpus == 4
    finally:
        await site.cluster.power_on(dead)


async def test_a_command_that_hangs_is_given_up(tmp_path: Path, site: DriverSite) -> None:
    slow = DriverSite(tmp_path, site.cluster, provider={"cmd_timeout": 1})
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("squeue", "sbatch", "scancel", "sinfo"):
        (programs / name).write_text("#!/bin/sh\nsleep 600\n")
        (programs / name).chmod(0o755)
    driver = slow.driver(PATH=f"{programs}:/usr/bin:/bin")

    with pytest.raises(DriverFailed, match="squeue did not answer in 1 s"):
        await driver.jobs()
    with pytest.raises(DriverFailed, match="sinfo did not answer"):
        await driver.capacity()
    with pytest.raises(DriverFailed, match="scancel did not answer"):
        await driver.cancel(["1"])
    with pytest.raises(DriverFailed, match="sbatch did not answer"):
        await driver.submit(order())
    with pytest.raises(DriverFailed, match="sbatch did not answer"):
        await driver.starts_in(order())


async def test_many_submissions_at_once_are_all_made(site: DriverSite) -> None:
    driver = site.driver()
    names = [f"org-tiny-00000c{number:02d}" for number in range(8)]

    ids = await asyncio.gather(*(driver.submit(order(name)) for name in names))

    assert len(set(ids)) == len(names)
    assert {job.instance for job in await driver.jobs()} == set(names)
