"""The hub, which alone of a host's processes goes to the clusters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from resource_server.adapters.hub import HubServer
from resource_server.config import Role, Settings
from resource_server.container.catalog import follow_catalog
from resource_server.container.clusters import open_transports
from resource_server.container.observation import open_instrumentation


@asynccontextmanager
async def open_hub(settings: Settings) -> AsyncIterator[None]:
    """Serve the web processes of this host at the hub's socket."""
    async with (
        open_instrumentation(settings, Role.HUB) as instrumentation,
        # Who may dial in stands in the catalog, and what sites are to keep; a hub without relays
        # does without a database, and then sites are told nothing.
        follow_catalog(settings) if _has_catalog(settings) else nullcontext() as catalog,
        open_transports(settings, instrumentation, catalog) as clusters,
        HubServer(
            clusters.backend,
            clusters.sites,
            settings.hub_address,
            board=clusters.board,
            site_calls=clusters.calls,
        ),
    ):
        yield


def _has_catalog(settings: Settings) -> bool:
    return bool(settings.relay_port or settings.read_database_url())
