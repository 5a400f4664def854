"""The composition root: the one module that names concrete classes and opens them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from resource_server.adapters.globus_auth import GlobusAuth
from resource_server.adapters.globus_compute import GlobusComputeBackend, GlobusComputeSites
from resource_server.config import Settings, read_client
from resource_server.services.catalog import LiveCatalog
from resource_server.services.completions import Completions
from resource_server.services.gateway import Gateway
from resource_server.services.jobs import Jobs
from resource_server.services.models import Models
from resource_server.services.readiness import Readiness
from resource_server.services.tokens import Tokens
from resource_server.store.catalog import CatalogTables, YamlCatalog


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Open everything the services need, and close it in the reverse order."""
    client = read_client(settings.globus_client_file)
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(
            GlobusAuth(
                client_id=client.client_id,
                client_secret=client.client_secret.get_secret_value(),
                scope=settings.globus_scope or default_scope(client.client_id),
                policies=settings.globus_policies,
                domains=settings.globus_domains,
                timeout_s=settings.globus_timeout_s,
            )
        )
        backend = await stack.enter_async_context(
            GlobusComputeBackend(
                settings.globus_clients_dir, allowance=settings.globus_compute_allowance
            )
        )
        store = CatalogTables()
        catalog = LiveCatalog(store, YamlCatalog(settings.catalog_dir))
        await catalog.start()
        await stack.enter_async_context(
            _running(catalog.follow(every_s=settings.catalog_poll_s), name="catalog")
        )
        yield Gateway(
            catalog=catalog,
            completions=Completions(catalog.current, backend),
            jobs=Jobs(
                catalog.current, GlobusComputeSites(backend, cache_s=settings.site_status_cache_s)
            ),
            models=Models(catalog.current),
            readiness=Readiness(store, identity),
            tokens=Tokens(
                identity, key=settings.read_secret_key().encode(), ttl_s=settings.token_cache_s
            ),
        )


def default_scope(client_id: str) -> str:
    """Return the scope that callers' tokens carry for the gateway's own Globus client."""
    return f"https://auth.globus.org/scopes/{client_id}/action_all"


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Run a loop beside the body, and end it with the body."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
