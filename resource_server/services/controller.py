"""The active controller: the one process that writes desired state; here, the catalog's files.

Without it everything else goes on with what the database holds.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from resource_server.domain import errors
from resource_server.ports import CatalogSource, Lease

log = logging.getLogger(__name__)

#: A holder renews so often in one term, so that a slow answer does not cost the lease.
RENEWALS_PER_TERM = 3


class Controller:
    """Does the controller's work while it holds the lease, and waits for the lease otherwise."""

    def __init__(
        self, lease: Lease, source: CatalogSource, *, term_s: float, every_s: float
    ) -> None:
        self._lease = lease
        self._source = source
        self._renew_s = term_s / RENEWALS_PER_TERM
        self._every_s = every_s
        self._fence: int | None = None
        self._reported: tuple[str, ...] = ()

    @property
    def fence(self) -> int | None:
        """The number under which this controller is the active one; None if it is not."""
        return self._fence

    async def start(self) -> None:
        """Become the active controller if nobody is, and bring the files into the database.

        Raises `CatalogInvalid` if they hold mistakes: an operator is watching now.
        """
        self._fence = await self._lease.acquire()
        if self._fence is None:
            log.info("controller_waits")
            return
        log.info("controller_active", extra={"fence": self._fence})
        async with AsyncExitStack() as on_failure:
            # Who starts again, with mended files, need not wait until the term is over.
            on_failure.push_async_callback(self._release)
            await self._source.sync(self._fence)
            on_failure.pop_all()

    async def run(self) -> None:
        """Hold the lease and work, or wait for the lease, for ever.

        Whatever else goes wrong ends it, and hands the lease on: its supervisor begins anew.
        """
        try:
            while True:
                fence = self._fence or await self._acquired()
                try:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._keep(fence), name="lease")
                        tasks.create_task(self._work(fence), name="controller")
                except* errors.LeaseLost:
                    self._fence = None
                    log.warning("controller_lost_its_lease", extra={"fence": fence})
        finally:
            await self._release()

    async def _acquired(self) -> int:
        while True:
            try:
                self._fence = await self._lease.acquire()
            except errors.DatabaseUnavailable as error:
                _database_away("lease_not_asked", error)
            if self._fence is not None:
                log.info("controller_active", extra={"fence": self._fence})
                return self._fence
            await asyncio.sleep(self._renew_s)

    async def _keep(self, fence: int) -> None:
        while True:
            await asyncio.sleep(self._renew_s)
            try:
                await self._lease.renew(fence)
            except errors.DatabaseUnavailable as error:
                # Whoever takes over meanwhile does so in the same database, and we hear of it.
                _database_away("lease_not_renewed", error)

    async def _work(self, fence: int) -> None:
        while True:
            try:
                await self._source.sync(fence)
                self._reported = ()
            except errors.CatalogInvalid as invalid:
                if invalid.problems != self._reported:
                    log.error("catalog_invalid", extra={"problems": invalid.problems})  # noqa: TRY400 - the problems are the whole story
                self._reported = invalid.problems
            except errors.DatabaseUnavailable as error:
                _database_away("catalog_not_synced", error)
            await asyncio.sleep(self._every_s)

    async def _release(self) -> None:
        """Hand the lease on; if that fails, it runs out by itself."""
        fence, self._fence = self._fence, None
        if fence is None:
            return
        try:
            await self._lease.release(fence)
        except errors.DatabaseUnavailable as error:
            _database_away("lease_not_released", error)


def _database_away(event: str, error: errors.DatabaseUnavailable) -> None:
    log.warning(event, extra={"reason": str(error.__cause__)})
