"""The controller's duty to remove files: deleted ones, expired ones, and what crashes left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from resource_server.batch_ports import FileTable, StoredBytes
from resource_server.domain import errors
from resource_server.ports import Tenure

log = logging.getLogger(__name__)

#: Between two rounds, and between two looks through the whole disk (seconds).
EVERY_S = 5.0
SWEEP_EVERY_S = 600.0


class FilesDuty:
    """Removes files; see `ports.Duty`.

    The bytes go first: a crash in between leaves a row that nobody sees, and the next round removes
    it.
    """

    name = "files"

    def __init__(
        self,
        table: FileTable,
        disk: StoredBytes,
        *,
        every_s: float = EVERY_S,
        sweep_every_s: float = SWEEP_EVERY_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._disk = disk
        self.every_s = every_s
        self._sweep_every_s = sweep_every_s
        self._monotonic = monotonic
        self._swept_at: float | None = None

    async def perform(self, tenure: Tenure) -> None:
        """Remove what is due. A disk that cannot be used is tried again in the next round."""
        try:
            await self._remove_unwanted(tenure)
            await self._sweep(tenure)
        except errors.FilesUnavailable as error:
            log.warning("files_not_removed", extra={"reason": str(error.__cause__)})

    async def _remove_unwanted(self, tenure: Tenure) -> None:
        unwanted = await self._table.unwanted()
        for file_id in unwanted:
            tenure.require()
            await self._disk.remove(file_id)
        if unwanted:
            await self._table.forget(unwanted, tenure.fence)
            log.info("files_removed", extra={"files": len(unwanted)})

    async def _sweep(self, tenure: Tenure) -> None:
        now = self._monotonic()
        if self._swept_at is not None and now - self._swept_at < self._sweep_every_s:
            return
        tenure.require()
        await self._disk.sweep(self._table.known)
        self._swept_at = now
