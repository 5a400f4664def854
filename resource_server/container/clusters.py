"""The ways to the clusters: the backend of each transport, and the hub that stands before them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from resource_server.adapters.direct import DirectBackend, DirectClients
from resource_server.adapters.globus_compute import GlobusComputeBackend, GlobusComputeSites
from resource_server.adapters.hub import HubBackend, HubConnection, HubSites, HubViews
from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.adapters.pushed_streams import PushedStreams
from resource_server.adapters.site_calls import CallsByLink, CallsByTask, CallsChosen
from resource_server.adapters.told_sites import ToldSites
from resource_server.adapters.transports import Carrier, Transports
from resource_server.config import Role, Settings
from resource_server.container.lifecycles import keep_lifecycles
from resource_server.container.relays import open_relays
from resource_server.domain.catalog import Transport
from resource_server.ports import InferenceBackend, Part, SiteCalls, SiteObserver, SiteViews
from resource_server.services.catalog import LiveCatalog
from resource_server.services.counted_backend import CountedBackend
from resource_server.services.observed_sites import ObservedSites
from resource_server.services.site_board import SiteBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """The way to the clusters, and the parts of the gateway that must answer for it to be open."""

    backend: InferenceBackend
    sites: SiteObserver
    views: SiteViews
    #: Where all is known of the sites, in the process that speaks with them.
    board: SiteBoard | None = None
    #: Calls of sites' functions, in the process that speaks with them; others ask nothing of sites.
    calls: SiteCalls | None = None
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
        board = SiteBoard(secrets.token_hex(16))
        pushes = _pushes(settings) if catalog is not None else None
        tasks = await stack.enter_async_context(
            GlobusComputeBackend(
                settings.globus_clients_dir,
                allowance=settings.globus_compute_allowance,
                pushes=pushes,
            )
        )
        direct = DirectBackend(await stack.enter_async_context(DirectClients()))
        by_link: CallsByLink | None = None
        carriers: dict[Transport, Carrier] = {Transport.TASK: tasks, Transport.DIRECT: direct}
        if settings.relay_port and catalog is not None:
            routes: Iterable[web.AbstractRouteDef] = ()
            if pushes is not None:
                routes = pushes.routes()
                instrumentation.watch_pushes(pushes.traffic)
            relays = await stack.enter_async_context(
                open_relays(settings, catalog, instrumentation, board=board, routes=routes)
            )
            carriers[Transport.RELAY], by_link = relays.backend, CallsByLink(relays.agents)
        sites = GlobusComputeSites(tasks, board=board, cache_s=settings.site_status_cache_s)
        if catalog is not None:
            told = ToldSites(settings.state_dir / "told_sites.json")
            await stack.enter_async_context(keep_lifecycles(board, catalog, sites, told))
        instrumentation.watch_channels(tasks.probe)
        instrumentation.watch_board(board)
        yield Clusters(
            backend=CountedBackend(Transports(carriers), board.demand),
            sites=ObservedSites(board, sites),
            views=board,
            board=board,
            calls=CallsChosen(by_link, CallsByTask(tasks)),
        )


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
        HubViews(hub) as views,
    ):
        yield Clusters(backend=backend, sites=HubSites(hub), views=views, parts={"hub": hub})
