"""`ensure_site_agent` as the gateway calls it: through Globus Compute and the real endpoint."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from compute_functions import processes
from compute_functions.contract import (
    PROTOCOL_VERSION,
    AgentReport,
    DesiredState,
    JsonObject,
    SiteStatus,
    Wishes,
)
from compute_functions.site import SiteDirectory
from compute_functions.site_agent import __main__ as command
from compute_functions.site_agent import starting
from resource_server.adapters.globus_compute import (
    GlobusComputeBackend,
    ServiceAddresses,
    replies,
)
from resource_server.adapters.globus_compute.payload import Payload, packed_json
from resource_server.domain import errors
from tests.support import slurm_site
from tests.support.compute_site import ComputeSite, compute_site
from tests.support.eventually import eventually, eventually_so
from tests.support.local_globus import LocalGlobus
from tests.support.process_table import descendants

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

ENSURE = "ensure_site_agent"
WITHIN_S = 60.0


class Way:
    """Everything between a gateway and the site."""

    def __init__(self, globus: LocalGlobus, compute: ComputeSite, site: SiteDirectory) -> None:
        self.compute = compute
        self.site = site
        addresses = ServiceAddresses(auth=globus.auth_url, compute=globus.url)
        self.backend = GlobusComputeBackend(compute.clients, addresses=addresses)

    async def ensure(self, wishes: Wishes | None = None) -> SiteStatus:
        """Call the function as the gateway does."""
        return await self._call(ENSURE, (wishes or Wishes()).to_wire())

    async def is_reported(self) -> bool:
        """Tell whether the service has heard of the endpoint since it began."""
        try:
            await self._call("site_status", {"v": PROTOCOL_VERSION})
        except errors.BackendUnavailable:
            return False
        return True

    async def _call(self, function: str, argument: JsonObject) -> SiteStatus:
        cluster = self.compute.cluster()
        channel = await self.backend.channels.of(cluster)
        finished = await channel.call(
            cluster,
            function,
            Payload(argument=argument, size=packed_json(argument)),
            deadline=asyncio.get_running_loop().time() + WITHIN_S,
            wary=True,
        )
        return await replies.site_status(cluster, finished)

    def log(self) -> str:
        return starting.log_file(self.site).read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def way() -> AsyncIterator[Way]:
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        async with LocalGlobus(Path(folder)) as globus, compute_site(globus) as compute:
            files = slurm_site.site_yaml(compute.site.root.parent)
            slurm_site.write_site(compute.site.root.parent, files)
            way = Way(globus, compute, compute.site)
            async with way.backend:
                await eventually_so(way.is_reported, seconds=WITHIN_S, every_s=0.5)
                yield way
            stop = ["stop", "--site-dir", str(compute.site.root)]
            assert await asyncio.to_thread(command.main, stop) == 0


def pid_of(status: SiteStatus) -> int:
    assert status.agent is not None
    return status.agent.pid


async def test_calls_at_once_start_one_agent_and_hand_over_what_is_wished(way: Way) -> None:
    wishes = Wishes(desired=DesiredState(generation=1, revision=7))

    seen = await asyncio.gather(*(way.ensure(wishes) for _ in range(8)))

    assert len({pid_of(status) for status in seen}) == 1
    assert way.log().count("agent_active") == 1
    assert way.log().count("agent_not_needed") == 0

    async def is_taken() -> bool:
        agent = await agent_of(way)
        return (agent.generation, agent.revision) == (1, 7)

    await eventually_so(is_taken, every_s=0.2)


async def test_it_has_the_environment_of_nobody(way: Way) -> None:
    pid = pid_of(await way.ensure())
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")  # noqa: ASYNC240 - memory
    names = {one.partition("=")[0] for one in variables if one}
    assert {name for name in names if name.startswith(("GLOBUS_", "PARSL"))} == set()
    assert f"HOTNODE_SITE_DIR={way.site.root}" in variables


async def test_it_outlives_the_endpoint_that_stops_and_the_one_that_is_killed(way: Way) -> None:
    pid = pid_of(await way.ensure())
    began = processes.started(pid)
    endpoint = way.compute.endpoint

    await endpoint.stop()
    assert processes.started(pid) == began
    await endpoint.start()
    await eventually_so(way.is_reported, seconds=WITHIN_S, every_s=0.5)
    assert pid_of(await way.ensure()) == pid

    daemon = int((endpoint.folder / "daemon.pid").read_text().split()[0])
    family = [*descendants(daemon), daemon]
    assert pid not in family
    for each in family:
        os.kill(each, signal.SIGKILL)
    await eventually(lambda: processes.started(daemon) is None)
    assert processes.started(pid) == began
    await endpoint.start()
    await eventually_so(way.is_reported, seconds=WITHIN_S, every_s=0.5)
    assert pid_of(await way.ensure()) == pid


async def test_a_wrong_file_stops_no_agent_and_is_told(way: Way) -> None:
    pid = pid_of(await way.ensure())
    file = way.site.root / "site.yaml"
    good = file.read_text()
    values = yaml.safe_load(good)
    values["limits"]["jobs"] = "many"
    file.write_text(yaml.safe_dump(values))
    try:

        async def is_told() -> bool:
            return "limits.jobs is wrong" in (await agent_of(way)).trouble

        await eventually_so(is_told, seconds=WITHIN_S, every_s=0.5)
        assert pid_of(await way.ensure()) == pid
    finally:
        file.write_text(good)


async def agent_of(way: Way) -> AgentReport:
    status = await way.ensure()
    assert status.agent is not None
    return status.agent
