"""One site: a Slurm cluster, the site's directory, its enrolment and its endpoint's agent.

The site's own agent is not started here: the gateway asks for it, by a Globus Compute task.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from compute_functions.contract import Instance, SiteStatus
from compute_functions.instances import Registration
from compute_functions.site import SiteDirectory
from compute_functions.site_agent import ensuring
from compute_functions.site_agent.lease import Holder, Lease
from lab.endpoint_unit import Agent, enabled_endpoint
from lab.processes import Command, output_of
from lab.slurm.cluster import SlurmCluster, slurm_cluster
from lab.slurm_sites.plan import SitePlan
from lab.stand_in import StandIn, clean_environment
from lab.unit import Unit

_WITHIN_S = 60.0
#: Who the gateway and the endpoints are at Globus Compute.
CLIENT = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmSite:
    """A running site, and what its operator sees of it."""

    name: str
    cluster: SlurmCluster
    directory: SiteDirectory
    endpoint: Unit
    endpoint_id: str
    #: Empty if the site has not enrolled.
    public_key: str

    def status(self) -> SiteStatus | None:
        """Return what the site's agent saw last; None if there is none, or that is too old."""
        return ensuring.observed(self.directory)

    def instances(self, *states: str, model: str = "") -> list[Instance]:
        """Return the instances in one of these states, or all, the oldest first."""
        status = self.status()
        found = [
            one
            for one in (status.instances if status else ())
            if (not states or one.state in states) and model in ("", one.model)
        ]
        return sorted(found, key=lambda one: one.submitted_at or 0.0)

    def registration(self, instance: str) -> Registration:
        """Return what an instance last wrote."""
        return Registration.read(self.directory.instances / f"{instance}.json")

    def agent(self) -> Holder | None:
        """Return the process that holds the agent's lease."""
        if not self.directory.agent.is_dir():
            return None
        holder = Lease(self.directory.agent).holder()
        return None if holder is None or holder.is_gone else holder

    @property
    def agent_log(self) -> Path:
        """Where the agent writes what it does."""
        return self.directory.logs / "site_agent.log"

    async def expire(self, instance: Instance, *, in_s: int) -> None:
        """Let an instance's walltime end soon."""
        await self.cluster.expire(int(instance.job_id), in_s=in_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a site reaches, and how: Globus, the functions' ids, and the gateway's hub."""

    globus: StandIn
    lock: Path
    hub: str

    def environment(self, cluster: SlurmCluster) -> dict[str, str]:
        """Return the environment of an endpoint's agent on a login node."""
        globus = self.globus.environment() | self.globus.client(CLIENT)
        return globus | dict(cluster.environment())


@asynccontextmanager
async def slurm_site(
    folder: Path, plan: SitePlan, site_config: Path, around: Surroundings
) -> AsyncIterator[SlurmSite]:
    """Run a site beside the body; `site_config` is the `site.yaml` in its directory."""
    directory = SiteDirectory(site_config.parent)
    public_key = await _enrolled(directory, plan.name, around.hub) if plan.egress else ""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(
            slurm_cluster(
                folder / "slurm",
                name=plan.name,
                nodes=plan.nodes,
                gpus=plan.gpus,
                clocks=plan.clocks,
            )
        )
        agent = Agent(
            name=plan.name, user_dir=folder / "endpoint", environment=around.environment(cluster)
        )
        await _configured(agent, site_config, around.lock)
        endpoint = await stack.enter_async_context(enabled_endpoint(agent))
        registered = (agent.user_dir / agent.name / "endpoint.json").read_text(encoding="utf-8")
        yield SlurmSite(
            name=plan.name,
            cluster=cluster,
            directory=directory,
            endpoint=endpoint,
            endpoint_id=json.loads(registered)["endpoint_id"],
            public_key=public_key,
        )


async def _enrolled(site: SiteDirectory, cluster: str, hub: str) -> str:
    """Enrol the site at the gateway's hub and return its public key."""
    command = Command(
        name="the site's enrolment",
        arguments=[
            *(sys.executable, "-m", "compute_functions.enrol", "--site-dir", str(site.root)),
            *("--cluster", cluster, "--hub", hub, "--insecure"),
        ],
        log=site.logs / "enrol.log",
        environment=clean_environment(),
    )
    printed = yaml.safe_load(await output_of(command, within_s=_WITHIN_S))
    return str(printed["relay"]["public_key"])


async def _configured(agent: Agent, site_config: Path, lock: Path) -> None:
    """Configure the endpoint with the templates for Slurm."""
    command = Command(
        name=f"configuring the endpoint {agent.name}",
        arguments=[
            *(sys.executable, "-m", "compute_functions.endpoint", "configure"),
            *("--name", agent.name, "--user-dir", str(agent.user_dir)),
            *("--site-dir", str(site_config.parent), "--lock", str(lock)),
            *("--templates", "slurm", "--site-config", str(site_config)),
            *("--email", "operator@example.org", "--heartbeat-period", "5"),
        ],
        log=agent.user_dir / "configure.log",
        environment=agent.environment,
    )
    await output_of(command, within_s=_WITHIN_S)
