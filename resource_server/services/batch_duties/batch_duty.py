"""The controller's duty to see batches through: a worker for each cluster that has some."""

from __future__ import annotations

import asyncio

from resource_server.ports import Tenure
from resource_server.services.batch_duties.loops import one_error, rounds
from resource_server.services.batch_duties.worker import Means, SiteWorker
from resource_server.services.catalog import LiveCatalog

#: Between two looks for batches that people have made or cancelled (seconds).
LOOK_S = 0.5
#: Between two looks for clusters that have batches at all, in rounds of the above.
EVERY_LOOKS = 60


class BatchDuty:
    """Sees all batches through; see `ports.Duty`. Its one round lasts as long as the tenure."""

    name = "batches"
    every_s = 1.0

    def __init__(self, means: Means, catalog: LiveCatalog, *, look_s: float = LOOK_S) -> None:
        self._means = means
        self._catalog = catalog
        self._look_s = look_s

    async def perform(self, tenure: Tenure) -> None:
        """Begin a worker wherever there is something to do; raises `LeaseLost`."""
        await self._catalog.start()
        looks, due = 0, set[str]()
        with one_error():
            async with asyncio.TaskGroup() as tasks:
                workers: dict[str, SiteWorker] = {}

                async def look() -> None:
                    nonlocal looks
                    due.update(await self._due(tenure, everywhere=looks % EVERY_LOOKS == 0))
                    # Whoever made a batch may have named a cluster that has just been added.
                    await self._catalog.refresh()
                    looks += 1
                    while due:
                        self._worker(due.pop(), tenure, workers, tasks).ring()
                    await asyncio.sleep(self._look_s)

                await rounds(self.name, look)

    async def _due(self, tenure: Tenure, *, everywhere: bool) -> frozenset[str]:
        """Return the clusters that have something to do now."""
        urgent = frozenset(await self._means.table.urgent(tenure.fence))
        return urgent | frozenset(await self._means.table.clusters()) if everywhere else urgent

    def _worker(
        self, cluster: str, tenure: Tenure, workers: dict[str, SiteWorker], tasks: asyncio.TaskGroup
    ) -> SiteWorker:
        """Return the worker of a cluster, which works from now on if it did not before."""
        if cluster not in workers:
            workers[cluster] = SiteWorker(cluster, self._means, tenure)
            tasks.create_task(workers[cluster].run(), name=f"batches-{cluster}")
        return workers[cluster]
