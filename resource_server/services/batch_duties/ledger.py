"""The rows of one cluster's batches, as the active controller reads and writes them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace

from resource_server.batch_ports import BatchObserver, BatchTable
from resource_server.domain.batches import Batch
from resource_server.domain.files import StoredFile
from resource_server.ports import Tenure

log = logging.getLogger(__name__)


class Ledger:
    """Each write states the controller's number, and the version of the batch that was read."""

    def __init__(
        self,
        table: BatchTable,
        tenure: Tenure,
        *,
        cluster: str,
        observer: BatchObserver | None = None,
    ) -> None:
        self._table = table
        self._tenure = tenure
        self._observer = observer
        self.cluster = cluster

    async def live(self) -> Collection[Batch]:
        """Return the batches of which something is left to do."""
        found = await self._table.live(self.cluster)
        if self._observer is not None:
            self._observer.live(self.cluster, found)
        return found

    async def write(
        self, before: Batch, after: Batch, files: Collection[StoredFile] = ()
    ) -> Batch | None:
        """Write what has become of a batch, and return it.

        None if somebody else has changed it since it was read: it is read again in the next round.
        """
        if after == before and not files:
            return before
        if not await self._table.save(after, self._tenure.fence, files):
            return None
        self._tell(before, after)
        return replace(after, version=after.version + 1)

    def _tell(self, before: Batch, after: Batch) -> None:
        if self._observer is not None:
            self._observer.changed(before, after)
        if before.status is not after.status:
            moved = {"cluster": self.cluster, "before": before.status, "status": after.status}
            log.info("batch_moved", extra={"batch": after.id, **moved})

    def require(self) -> None:
        """Raise `LeaseLost` unless this is surely the active controller; before every call."""
        self._tenure.require()
