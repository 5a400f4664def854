"""The catalog in memory, which follows the one in the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from resource_server.config import Settings
from resource_server.container.background import running
from resource_server.domain import errors
from resource_server.ports import CatalogStore
from resource_server.services.catalog import LiveCatalog
from resource_server.store.catalog import CatalogTables
from resource_server.store.database import close_database

log = structlog.get_logger()


@asynccontextmanager
async def open_catalog(settings: Settings, store: CatalogStore) -> AsyncIterator[LiveCatalog]:
    """Read the catalog, and again whenever it has changed."""
    catalog = LiveCatalog(store)
    await catalog.start()
    async with running(partial(catalog.follow, every_s=settings.catalog_poll_s), name="catalog"):
        yield catalog


@asynccontextmanager
async def follow_catalog(settings: Settings) -> AsyncIterator[LiveCatalog]:
    """Follow the catalog in a process that also serves while the database is away."""
    catalog = LiveCatalog(CatalogTables())

    async def follow() -> None:
        try:
            await catalog.start()
        except errors.DatabaseUnavailable as error:
            log.warning("catalog_not_read_yet", reason=error.message)
            await asyncio.sleep(settings.catalog_poll_s)
            return
        await catalog.follow(every_s=settings.catalog_poll_s)

    try:
        async with running(follow, name="catalog"):
            yield catalog
    finally:
        await close_database()
