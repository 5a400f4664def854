"""Models that the gateway keeps: sites learn what the catalog says, on links and by tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from resource_server.adapters.globus_compute import GlobusComputeSites
from resource_server.adapters.told_sites import ToldSites
from resource_server.container.background import running
from resource_server.services.catalog import LiveCatalog
from resource_server.services.changes import ANY
from resource_server.services.exchanges import Exchanges
from resource_server.services.site_board import SiteBoard

#: A new snapshot is taken up at once; this is for none that was missed (seconds).
_LOOK_EVERY_S = 60.0


@asynccontextmanager
async def keep_lifecycles(
    board: SiteBoard, catalog: LiveCatalog, sites: GlobusComputeSites, told: ToldSites
) -> AsyncIterator[None]:
    """Have the board follow the catalog, and speak with sites that have no link."""
    board.farewells.remember(await told.load())
    board.take_catalog(catalog.current())
    exchanges = Exchanges(board, catalog.current, sites)
    async with (
        running(partial(_follow, board, catalog), name="desired"),
        running(partial(_note, board, told), name="told-sites"),
        running(exchanges.run, name="exchanges"),
    ):
        yield


async def _follow(board: SiteBoard, catalog: LiveCatalog) -> None:
    while True:
        seen = catalog.changes.number(ANY)
        board.take_catalog(catalog.current())
        await catalog.changes.after({ANY: seen}, within_s=_LOOK_EVERY_S)


async def _note(board: SiteBoard, told: ToldSites) -> None:
    noted: frozenset[str] | None = None
    while True:
        seen = board.wishes_changed.number(ANY)
        if board.farewells.told != noted:
            noted = board.farewells.told
            await told.save(noted)
        await board.wishes_changed.after({ANY: seen}, within_s=_LOOK_EVERY_S)
