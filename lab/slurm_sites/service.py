"""All of it, running: `async with slurm_sites(folder, plan) as running`."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from compute_functions import loopback_port
from compute_functions.site import SiteDirectory
from lab.endpoint import register
from lab.people import People
from lab.service import Say, silently
from lab.slurm_sites import catalog, site_files
from lab.slurm_sites.kept_gateway import KeptGateway, kept_gateway
from lab.slurm_sites.plan import Plan, SitePlan
from lab.slurm_sites.shared_state import shared_state
from lab.slurm_sites.site import CLIENT, SlurmSite, Surroundings, slurm_site
from lab.stand_in import stand_in


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmSites(People):
    """A running service whose sites are Slurm clusters."""

    gateway: KeptGateway
    sites: Mapping[str, SlurmSite]

    def base_url(self, cluster: str = "") -> str:
        """Return what the openai SDK calls `base_url`: of one cluster, or of all together."""
        if not cluster:
            return f"{self.gateway.url}/v1"
        return f"{self.gateway.url}/resource_server/{cluster}/vllm/v1"


@asynccontextmanager
async def slurm_sites(
    folder: Path, plan: Plan, *, say: Say = silently, port: int = 0
) -> AsyncIterator[SlurmSites]:
    """Run everything beside the body. Raises `PackageMissing`.

    Desired models are started soon after: the gateway has the sites' agents started, by Globus
    Compute tasks, and tells them what is desired.
    """
    hub_port = loopback_port.free()
    async with AsyncExitStack() as stack:
        runtime_dir = stack.enter_context(_runtime_dir())
        globus = await stack.enter_async_context(stand_in(folder / "globus", "--test-controls"))
        say("globus", f"a stand-in at {globus.url}")
        lock = folder / "functions.lock.json"
        await register(lock, globus, client=CLIENT)
        around = Surroundings(globus=globus, lock=lock, hub=loopback_port.endpoint(hub_port))
        configs = {
            one.name: site_files.written(
                directory(folder, one.name), one, plan.models, runtime_dir=runtime_dir
            )
            for one in plan.sites
        }
        sites = await _entered(folder, plan.sites, configs, around, stack=stack, say=say)
        front = folder / "gateway"
        catalog.write(
            front / "catalog",
            sites.values(),
            plan.models,
            functions=lock,
            batches_for={one.name: one.batches_for for one in plan.sites},
        )
        hub = {
            "relay_host": loopback_port.HOST,
            "relay_port": str(hub_port),
            "relay_public_url": around.hub,
        }
        shared = await stack.enter_async_context(shared_state(folder, workers=plan.workers))
        settings = {**hub, **shared, **plan.gateway}
        gateway = await stack.enter_async_context(
            kept_gateway(front, globus, port=port or loopback_port.free(), **settings)
        )
        say("gateway", gateway.url)
        yield SlurmSites(folder=folder, globus=globus, gateway=gateway, sites=sites)


def directory(folder: Path, site: str) -> SiteDirectory:
    """Return where a site of the composition in `folder` has its files."""
    return SiteDirectory(folder / site / "site")


async def _entered(
    folder: Path,
    plans: tuple[SitePlan, ...],
    configs: Mapping[str, Path],
    around: Surroundings,
    *,
    stack: AsyncExitStack,
    say: Say,
) -> dict[str, SlurmSite]:
    """Start all sites at once, and return them in their order."""

    async def enter(plan: SitePlan) -> SlurmSite:
        running = slurm_site(folder / plan.name, plan, configs[plan.name], around)
        site = await stack.enter_async_context(running)
        nodes = f"{plan.nodes} nodes with {plan.gpus} GPUs each"
        say("slurm", f"{plan.name}: {nodes}; endpoint {site.endpoint_id}")
        return site

    try:
        async with asyncio.TaskGroup() as tasks:
            entering = [tasks.create_task(enter(plan)) for plan in plans]
    except ExceptionGroup as failed:
        # The others were stopped for it.
        raise failed.exceptions[0] from None
    return {plan.name: task.result() for plan, task in zip(plans, entering, strict=True)}


@contextmanager
def _runtime_dir() -> Iterator[Path]:
    """Make a folder for the instances' sockets, whose paths must be short."""
    folder = Path(tempfile.mkdtemp(prefix="hotnode-run-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
