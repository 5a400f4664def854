"""What a job looks at while its instance lives: its order, its control file, its walltime."""

from __future__ import annotations

import asyncio
import logging
import time

from compute_functions.control import Control
from compute_functions.errors import ConfigurationError, DriverFailed
from compute_functions.instance_job.job_ending import JobEnding
from compute_functions.instance_job.walltime import Walltime
from compute_functions.orders import Order
from compute_functions.relay.handed_credentials import HandedCredentials
from compute_functions.site import SiteDirectory

log = logging.getLogger("hotnode.launcher")

LOOK_EVERY_S = 1.0
#: An order that is missed so often in a row is gone: a shared disk may lose sight of a file.
MISSED = 3
#: While little is left the scheduler is asked more often than usual: this, or a part of it.
_ASK_SOON_S, _PART = 5.0, 0.1
CREDENTIALS_EVERY_S = 5.0


class OrderWatch:
    """Looks every second whether the order stands, and what the agent says."""

    def __init__(self, site: SiteDirectory, instance: str, ending: JobEnding) -> None:
        self._site = site
        self._instance = instance
        self._ending = ending
        self._missed = 0
        self._last_trouble = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once, and ask for the end if it is time for it."""
        try:
            stands = await asyncio.to_thread(self._stands)
        except OSError as error:
            self._tell(str(error))
            return
        self._missed = 0 if stands else self._missed + 1
        if self._missed >= MISSED:
            self._ending.ask("its order is gone")
        try:
            told = await asyncio.to_thread(Control.read, self._site, self._instance)
        except (ConfigurationError, OSError) as error:
            self._tell(str(error))
            return
        if told is not None and told.drain:
            self._ending.told_until = told.until
            self._ending.ask("its site lets it drain")

    def _stands(self) -> bool:
        # Without its folder it is the disk that is gone, not the order.
        return Order.file(self._site, self._instance).exists() or not self._site.orders.exists()

    def _tell(self, trouble: str) -> None:
        if trouble != self._last_trouble:
            log.warning("control_unreadable name=%s error=%s", self._instance, trouble)
        self._last_trouble = trouble


class WalltimeWatch:
    """Asks the scheduler when the job ends, and asks for the instance's end in time for that."""

    def __init__(self, walltime: Walltime, ending: JobEnding, *, every_s: float) -> None:
        self._walltime = walltime
        self._ending = ending
        self._every_s = every_s
        self._last_trouble = ""

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_asking())
            # Beside it: a scheduler that is slow to answer must not make us late.
            tasks.create_task(self._end_in_time())

    async def _keep_asking(self) -> None:
        while True:
            await self._ask()
            left_s = self._ending.drains_at - time.time()
            await asyncio.sleep(min(max(_ASK_SOON_S, _PART * left_s), self._every_s))

    async def _end_in_time(self) -> None:
        while True:
            left_s = self._ending.drains_at - time.time()
            if left_s <= 0:
                self._ending.ask("its walltime is nearly over")
                return
            await asyncio.sleep(min(left_s, LOOK_EVERY_S))

    async def _ask(self) -> None:
        """Take what the scheduler says; without an answer the last one stays good."""
        trouble = ""
        try:
            ends_at = await self._walltime.ends_at()
        except DriverFailed as error:
            ends_at, trouble = None, str(error)
        if trouble and trouble != self._last_trouble:
            log.warning("walltime_unknown ends_at=%.0f error=%s", self._ending.ends_at, trouble)
        self._last_trouble = trouble
        if ends_at is not None and ends_at != self._ending.ends_at:
            log.info("walltime_ends at=%.0f", ends_at)
            self._ending.ends_at = ends_at


class CredentialWatch:
    """Looks how many credentials are left, for the registration."""

    def __init__(self, credentials: HandedCredentials) -> None:
        self._credentials = credentials
        self._last_trouble = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            trouble = ""
            try:
                await self._credentials.look()
            except ConfigurationError as error:
                trouble = str(error)
                if trouble != self._last_trouble:
                    log.warning("credentials_unreadable error=%s", trouble)
            self._last_trouble = trouble
            await asyncio.sleep(CREDENTIALS_EVERY_S)
