"""The controller's duty to bring what operators edit into the store."""

from __future__ import annotations

import logging

from resource_server.domain import errors
from resource_server.ports import CatalogSource, Tenure

log = logging.getLogger(__name__)


class CatalogFiles:
    """Looks at the catalog's files again and again; see `ports.Duty`."""

    name = "catalog-files"

    def __init__(self, source: CatalogSource, *, every_s: float) -> None:
        self._source = source
        self.every_s = every_s
        self._reported: tuple[str, ...] = ()

    async def take(self, tenure: Tenure) -> None:
        """Bring the files into the store; raises `CatalogInvalid` if they hold mistakes."""
        await self._source.sync(tenure.fence)

    async def perform(self, tenure: Tenure) -> None:
        """Bring the files into the store, and say once what mistakes they hold."""
        try:
            await self.take(tenure)
            self._reported = ()
        except errors.CatalogInvalid as invalid:
            if invalid.problems != self._reported:
                log.error("catalog_invalid", extra={"problems": invalid.problems})  # noqa: TRY400 - the problems are the whole story
            self._reported = invalid.problems
