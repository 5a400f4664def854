"""The catalog in memory, kept up to date with the database while the gateway runs."""

from __future__ import annotations

import asyncio
import logging
import time

from resource_server.domain import errors
from resource_server.domain.catalog import Catalog
from resource_server.ports import CatalogStore
from resource_server.services.changes import ANY, Changes

log = logging.getLogger(__name__)


class LiveCatalog:
    """Holds the current snapshot. A request that has begun keeps the snapshot it began with."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self._current = Catalog()
        #: Notes each new snapshot.
        self.changes = Changes()
        #: When it was last known to be what the store holds (seconds since the epoch).
        self.checked_at = 0.0

    def current(self) -> Catalog:
        """Return the snapshot of this moment."""
        return self._current

    async def start(self) -> None:
        """Load the catalog for the first time."""
        self._current = await self._store.load()
        self.checked_at = time.time()
        self.changes.note(ANY)

    async def follow(self, *, every_s: float) -> None:
        """Take up changes for ever. While the database is away, the last snapshot serves.

        Whatever else goes wrong ends it: its supervisor begins anew.
        """
        away = False
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.refresh()
                if away:
                    log.info("catalog_followed_again")
                away = False
            except errors.DatabaseUnavailable:
                if not away:
                    log.warning("catalog_not_followed", exc_info=True)
                away = True

    async def refresh(self) -> bool:
        """Take up changes now; tell whether the snapshot is a new one."""
        if await self._store.version() == self._current.version:
            self.checked_at = time.time()
            return False
        self._current = await self._store.load()
        self.checked_at = time.time()
        self.changes.note(ANY)
        log.info("catalog_loaded", extra={"version": self._current.version})
        return True
