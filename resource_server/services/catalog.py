"""The catalog in memory, kept up to date with files and database while the gateway runs."""

from __future__ import annotations

import asyncio
import logging

from resource_server.domain import errors
from resource_server.domain.catalog import Catalog
from resource_server.ports import CatalogSource, CatalogStore

log = logging.getLogger(__name__)


class LiveCatalog:
    """Holds the current snapshot. A request that has begun keeps the snapshot it began with."""

    def __init__(self, store: CatalogStore, source: CatalogSource) -> None:
        self._store = store
        self._source = source
        self._current = Catalog()

    def current(self) -> Catalog:
        """Return the snapshot of this moment."""
        return self._current

    async def start(self) -> None:
        """Load the catalog for the first time; raises `CatalogInvalid` if it holds mistakes."""
        await self._source.sync()
        self._current = await self._store.load()

    async def follow(self, *, every_s: float) -> None:
        """Take up changes for ever. With mistakes in it, the last one serves."""
        reported: tuple[str, ...] = ()
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.refresh()
                reported = ()
            except errors.CatalogInvalid as invalid:
                if invalid.problems != reported:
                    log.error("catalog_invalid", extra={"problems": invalid.problems})  # noqa: TRY400 - the problems are the whole story
                reported = invalid.problems
            except Exception:
                log.exception("catalog_refresh_failed")

    async def refresh(self) -> bool:
        """Take up changes now; tell whether the snapshot is a new one."""
        await self._source.sync()
        if await self._store.version() == self._current.version:
            return False
        self._current = await self._store.load()
        log.info("catalog_loaded", extra={"version": self._current.version})
        return True
