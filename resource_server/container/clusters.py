"""The ways to the clusters: the backend of each transport, and the hub that stands before them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from resource_server.adapters.direct import DirectBackend
from resource_server.adapters.globus_compute import GlobusComputeBackend, GlobusComputeSites
from resource_server.adapters.hub import HubBackend, HubConnection, HubSites
from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.adapters.pushed_streams import PushedStreams
from resource_server.adapters.transports import Carrier, Transports
from resource_server.config import Role, Settings
from resource_server.container.relays import open_relays
from resource_server.domain.catalog import Transport
from resource_server.ports import InferenceBackend, Part, SiteObserver
from resource_server.services.catalog import LiveCatalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """The way to the clusters, and the parts of the gateway that must answer for it to be open."""

    backend: InferenceBackend
    sites: SiteObserver
    parts: Mapping[str, Part] = field(default_factory=dict)


def open_clusters(
    settings: Settings, role: Role, instrumentation: Instrumentation, catalog: LiveCatalog
) -> AbstractAsyncContextManager[Clusters]:
    """Open the way of a process that serves HTTP: of several, each goes through its host's hub."""
    if role is Role.ALL:
        return open_transports(settings, instrumentation, catalog)
    return _open_way_to_hub(settings)


@asynccontextmanager
async def open_transports(
    settings: Settings, instrumentation: Instrumentation, catalog: LiveCatalog | None
) -> AsyncIterator[Clusters]:
    """Open what carries requests to the clusters itself; relays need a catalog."""
    async with AsyncExitStack() as stack:
        pushes = _pushes(settings) if catalog is not None else None
        tasks = await stack.enter_async_context(
            GlobusComputeBackend(
                settings.globus_clients_dir,
                allowance=settings.globus_compute_allowance,
                pushes=pushes,
            )
        )
        direct = await stack.enter_async_context(DirectBackend())
        carriers: dict[Transport, Carrier] = {Transport.TASK: tasks, Transport.DIRECT: direct}
        if settings.relay_port and catalog is not None:
            routes = pushes.routes() if pushes is not None else ()
            carriers[Transport.RELAY] = await stack.enter_async_context(
                open_relays(settings, catalog, instrumentation, routes=routes)
            )
        sites = GlobusComputeSites(tasks, cache_s=settings.site_status_cache_s)
        instrumentation.watch_channels(tasks.probe)
        yield Clusters(backend=Transports(carriers), sites=sites)


def _pushes(settings: Settings) -> PushedStreams | None:
    """Return what waits for pushed answers, where sites can reach this process."""
    if not (settings.relay_port and settings.relay_public_url):
        return None
    return PushedStreams(settings.relay_public_url)


@asynccontextmanager
async def _open_way_to_hub(settings: Settings) -> AsyncIterator[Clusters]:
    async with (
        HubConnection(settings.hub_address) as hub,
        HubBackend(hub) as backend,
    ):
        yield Clusters(backend=backend, sites=HubSites(hub), parts={"hub": hub})
