"""The active controller: of several processes the one that does the duties of which there is one.

Without it everything else goes on with what the database holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from resource_server.domain import errors
from resource_server.ports import Duty, Lease, Tenure
from resource_server.services.supervision import forever
from resource_server.services.tenure import LeasedTenure, clock

log = logging.getLogger(__name__)

#: A holder renews so often in one term, so that a slow answer does not cost the lease.
RENEWALS_PER_TERM = 3


class Controller:
    """Does its duties beside each other while it holds the lease, else waits for the lease."""

    def __init__(self, lease: Lease, duties: Sequence[Duty], *, term_s: float) -> None:
        self._lease = lease
        self._duties = duties
        self._term_s = term_s
        self._renew_s = term_s / RENEWALS_PER_TERM
        self._tenure: LeasedTenure | None = None

    @property
    def fence(self) -> int | None:
        """The number under which this controller is the active one; None if it is not."""
        return None if self._tenure is None else self._tenure.fence

    async def start(self, first: Callable[[Tenure], Awaitable[object]]) -> None:
        """Become the active controller if nobody is, and do what must be done before all else.

        What `first` raises is raised here: an operator is watching now.
        """
        self._tenure = await self._asked()
        if self._tenure is None:
            log.info("controller_waits")
            return
        async with AsyncExitStack() as on_failure:
            # Who starts again, with mended files, need not wait until the term is over.
            on_failure.push_async_callback(self._release)
            try:
                await first(self._tenure)
            except errors.LeaseLost:
                # It took longer than the term, and somebody else does it.
                log.warning("controller_lost_its_lease", extra={"fence": self._tenure.fence})
                return
            on_failure.pop_all()

    async def run(self) -> None:
        """Hold the lease and do the duties, or wait for the lease, for ever.

        Whatever else goes wrong with the lease ends it, and hands it on: its supervisor begins
        anew.
        """
        try:
            while True:
                tenure = self._tenure or await self._acquired()
                try:
                    await self._serve(tenure)
                except* errors.LeaseLost:
                    self._tenure = None
                    log.warning("controller_lost_its_lease", extra={"fence": tenure.fence})
        finally:
            await self._release()

    async def _serve(self, tenure: LeasedTenure) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep(tenure), name="lease")
            for duty in self._duties:
                tasks.create_task(_do(duty, tenure), name=f"duty-{duty.name}")

    async def _acquired(self) -> LeasedTenure:
        while True:
            try:
                self._tenure = await self._asked()
            except errors.DatabaseUnavailable as error:
                _database_away("lease_not_asked", error)
            if self._tenure is not None:
                return self._tenure
            await asyncio.sleep(self._renew_s)

    async def _asked(self) -> LeasedTenure | None:
        """Ask for the lease once; return the tenure that begins, if one does."""
        asked_at = clock()
        fence = await self._lease.acquire()
        if fence is None:
            return None
        log.info("controller_active", extra={"fence": fence})
        return LeasedTenure(fence, asked_at=asked_at, term_s=self._term_s)

    async def _keep(self, tenure: LeasedTenure) -> None:
        while True:
            await asyncio.sleep(self._renew_s)
            asked_at = clock()
            try:
                await self._lease.renew(tenure.fence)
            except errors.DatabaseUnavailable as error:
                # Whoever takes over meanwhile does so in the same database, and we hear of it.
                _database_away("lease_not_renewed", error)
            else:
                tenure.renewed(asked_at=asked_at)

    async def _release(self) -> None:
        """Hand the lease on; if that fails, it runs out by itself."""
        tenure, self._tenure = self._tenure, None
        if tenure is None:
            return
        try:
            await self._lease.release(tenure.fence)
        except errors.DatabaseUnavailable as error:
            _database_away("lease_not_released", error)


async def _do(duty: Duty, tenure: Tenure) -> None:
    """Do one duty for as long as the tenure lasts, whatever it runs into."""

    async def round_() -> None:
        try:
            await duty.perform(tenure)
        except errors.DatabaseUnavailable as error:
            _database_away("duty_not_done", error, duty=duty.name)
        await asyncio.sleep(duty.every_s)

    await forever(duty.name, round_, unless=errors.LeaseLost)


def _database_away(event: str, error: errors.DatabaseUnavailable, **further: str) -> None:
    log.warning(event, extra={"reason": str(error.__cause__), **further})
