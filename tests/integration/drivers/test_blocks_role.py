"""The role `blocks` under the real agent on real Slurm, and the keeper driver on it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from globus_compute_sdk import Client
from globus_compute_sdk.serialize import JSONData, PureSourceTextInspect

from compute_functions.contract import JsonObject, SiteFailure, SiteStatus, read_reply
from compute_functions.control import Control
from compute_functions.drivers import Job, JobState
from compute_functions.drivers.globus_tasks import GlobusTasks
from compute_functions.drivers.keeper import KeeperDriver
from compute_functions.endpoint import Endpoint
from compute_functions.function_lock import FunctionLock
from compute_functions.orders import Order
from compute_functions.site_config import KeeperSettings
from lab.slurm.cluster import SlurmCluster
from tests.support.eventually import eventually_so
from tests.support.local_globus import LocalGlobus
from tests.support.slurm_driver import DriverSite
from tests.support.slurm_site import MODEL, order

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

#: What runs instead of an instance: it registers, and ends when it is told to drain.
_INSTANCE = """\
#!{python}
import os, sys, time
from pathlib import Path
from compute_functions.contract import InstanceState
from compute_functions.control import Control
from compute_functions.instances import Registration
from compute_functions.site import SiteDirectory

site, instance = SiteDirectory(Path(sys.argv[5])), sys.argv[7]
Registration(
    name=instance, model="m", framework="vllm", state=InstanceState.READY, endpoint="/x",
    api_key_file="/x", pid=os.getpid(), pid_start=0, job_id=os.environ["SLURM_JOB_ID"],
    host="h", started_at=time.time(), heartbeat=time.time(), paths={{}},
).write(site)
while not ((told := Control.read(site, instance)) and told.drain):
    time.sleep(0.1)
"""

#: Another walltime than that of the keepers' tasks: these have a user endpoint of their own, whose
#: idle blocks would serve.
BLOCKS = {"role": "blocks", "gpus": 1, "walltime_minutes": 4}


class Caller:
    """The gateway's client, and the endpoint that it calls."""

    def __init__(self, endpoint: Endpoint, functions: FunctionLock) -> None:
        self._endpoint = endpoint
        self._functions = functions

    async def status(self, options: dict[str, Any]) -> SiteStatus:
        """Call `site_status` with options for the user endpoint."""
        status = read_reply(await self.call("site_status", {"v": 1}, options))
        assert isinstance(status, SiteStatus)
        return status

    async def call(self, name: str, wire: JsonObject, options: dict[str, Any]) -> JsonObject:
        """Call a function and return its result."""
        client = Client(
            do_version_check=False,
            code_serialization_strategy=PureSourceTextInspect(),
            data_serialization_strategy=JSONData(),
        )
        batch = client.create_batch(
            user_endpoint_config=options,
            result_serializers=["globus_compute_sdk.serialize.JSONData"],
            create_websocket_queue=True,
        )
        batch.add(self._functions.functions[name].id, (wire,))
        reply = await asyncio.to_thread(client.batch_run, self._endpoint.status().id, batch)
        (task_ids,) = reply["tasks"].values()

        async def done() -> bool:
            return not (await asyncio.to_thread(client.get_task, task_ids[0]))["pending"]

        await eventually_so(done, seconds=90, every_s=0.2)
        result: JsonObject = await asyncio.to_thread(client.get_result, task_ids[0])
        return result


async def command(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, errors.decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A site whose endpoint runs, on a cluster of the lab."""

    site: DriverSite
    caller: Caller
    endpoint_id: str
    lock: Path

    def keeper(self) -> KeeperDriver:
        """Return a driver as a fresh agent would have it."""
        settings = KeeperSettings(endpoint=self.endpoint_id, functions=self.lock)
        tasks = GlobusTasks(settings, settings.client(os.environ))
        return KeeperDriver(self.site.site, self.site.driver(), tasks)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(
    tmp_path_factory: pytest.TempPathFactory, cluster: SlurmCluster
) -> AsyncIterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    instance = folder / "instance.py"
    instance.write_text(_INSTANCE.format(python=sys.executable))
    instance.chmod(0o755)
    site = DriverSite(folder, cluster, job={"python": str(instance)})
    lock = folder / "functions.json"
    where = ("--name", "site", "--user-dir", str(folder / "compute"))
    with pytest.MonkeyPatch.context() as patch:
        async with LocalGlobus(folder / "globus") as globus:
            patch.setenv("GLOBUS_COMPUTE_USER_DIR", str(folder / "client"))
            for name, value in (globus.client_environment("local") | cluster.environment()).items():
                patch.setenv(name, value)
            await command("compute_functions.register", "--lock", str(lock))
            await command(
                *("compute_functions.endpoint", "configure", *where, "--lock", str(lock)),
                *("--site-dir", str(site.site.root), "--email", "operator@example.org"),
                *("--templates", "slurm", "--site-config", str(site.site.root / "site.yaml")),
                *("--heartbeat-period", "5"),
            )
            await command("compute_functions.endpoint", "start", *where)
            endpoint = Endpoint(
                name="site", user_dir=folder / "compute", environment=dict(os.environ)
            )
            try:
                yield Plant(
                    site=site,
                    caller=Caller(endpoint, FunctionLock.read_written(lock)),
                    endpoint_id=endpoint.status().id,
                    lock=lock,
                )
            finally:
                await command("compute_functions.endpoint", "stop", *where)


async def test_functions_run_beside_the_endpoint_or_in_a_job(
    plant: Plant, cluster: SlurmCluster
) -> None:
    before = {job.id for job in await cluster.jobs()}
    await plant.caller.status({})
    assert await _new_blocks(cluster, before) == []

    await plant.caller.status(BLOCKS)

    (shown,) = await _new_blocks(cluster, before)
    assert "TimeLimit=00:04:00 " in shown
    assert re.search(r"JobName=\S*hotnode", shown)
    assert "Requeue=0 " in shown
    assert "TresPerNode=gres:gpu:1" in shown


async def _new_blocks(cluster: SlurmCluster, before: set[int]) -> list[str]:
    """Return what Slurm shows of each new job.

    But for keepers: one that another test has cancelled may come late, under its own walltime.
    """
    new = [
        await cluster.run("scontrol", "--oneliner", "show", "job", str(job.id))
        for job in await cluster.jobs()
        if job.id not in before
    ]
    return [shown for shown in new if "TimeLimit=00:05:00 " not in shown]


async def state(driver: KeeperDriver, wanted: JobState | None) -> Job | None:
    """Wait until the one job is in this state, or there is none; return it."""
    found: list[Job] = []

    async def is_so() -> bool:
        found[:] = await driver.jobs()
        return [job.state for job in found] == ([] if wanted is None else [wanted])

    await eventually_so(is_so, seconds=100, every_s=0.2)
    return found[0] if found else None


def ordered(plant: Plant, instance: str) -> Order:
    """Write an order down, as the agent does before it submits it."""
    made = order(instance, walltime_s=300)
    made.write(plant.site.site)
    return made


async def test_a_keeper_s_block_is_an_instance_until_it_is_drained(
    plant: Plant, cluster: SlurmCluster
) -> None:
    driver, asked = plant.keeper(), ordered(plant, "org-tiny-00000e01")

    task_id = await driver.submit(asked)

    assert task_id.startswith("task:")
    job = await state(driver, JobState.RUNNING)
    assert job is not None
    assert (job.instance, job.model, job.generation, job.fence) == (asked.instance, MODEL, 3, 7)
    assert job.nodes[0] in cluster.nodes
    assert job.left_s is not None
    assert 0 < job.left_s <= 300
    # As after a restart of the agent: another driver, and nobody submitted anything.
    (again,) = await plant.keeper().jobs()
    assert again == replace(job, left_s=again.left_s)

    Control(drain=True).write(plant.site.site, asked.instance)

    assert await state(driver, None) is None
    assert await plant.keeper().jobs() == ()


async def test_a_keeper_is_cancelled_while_it_runs_and_before(plant: Plant) -> None:
    driver, runs = plant.keeper(), ordered(plant, "org-tiny-00000f01")
    await driver.submit(runs)
    job = await state(driver, JobState.RUNNING)
    assert job is not None

    await driver.cancel([job.job_id])
    assert await state(driver, None) is None

    waits = ordered(plant, "org-tiny-00000f02")
    await driver.cancel([await driver.submit(waits)])
    assert await driver.jobs() == ()


async def test_no_instance_is_kept_beside_the_endpoint(plant: Plant) -> None:
    asked = ordered(plant, "org-tiny-00000f03")

    reply = await plant.caller.call("keep_instance", {"v": 1, "instance": asked.instance}, {})

    failure = read_reply(reply)
    assert isinstance(failure, SiteFailure)
    assert "in jobs alone" in failure.message
