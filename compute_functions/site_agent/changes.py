"""Sees when the site's files or the installed package have changed: the agent must begin anew."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL
from dataclasses import dataclass

from compute_functions import site_config
from compute_functions.child_group import ended_if_given_up, started
from compute_functions.errors import ConfigurationError, FieldError
from compute_functions.relay.enrolment import Enrolment
from compute_functions.site import SiteDirectory
from compute_functions.site_agent import installed
from compute_functions.site_agent.disk import Disk
from compute_functions.site_agent.troubles import Troubles
from compute_functions.site_config import SiteConfig

#: Between two looks (seconds).
EVERY_S = 5.0
#: A new package says within so long whether it works (seconds).
_REHEARSAL_S = 60.0


class Superseded(Exception):
    """The site's files or the installed package have changed: another process must begin anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the process began with. `build` is None if nobody knows."""

    build: tuple[str, str] | None
    config: SiteConfig
    enrolment: Enrolment | None


class Changes:
    """Compares what there is with the basis. What is wrong now is trouble, and changes nothing."""

    def __init__(
        self, site: SiteDirectory, basis: Basis, *, disk: Disk, troubles: Troubles
    ) -> None:
        self._site = site
        self._basis = basis
        self._disk = disk
        self._troubles = troubles
        self._build_before = basis.build

    async def watch(self) -> None:
        """Look again and again; ends with `Superseded`."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Look once; raises `Superseded`, or `DiskFailed`."""
        await self._look_at_build()
        await self._look_at_config()
        await self._look_at_enrolment()

    async def _look_at_build(self) -> None:
        build = await self._disk.do(installed.build)
        before, self._build_before = self._build_before, build
        # Seen twice: what is only half installed is something else the next time.
        if build is None or build == self._basis.build or build != before:
            return
        if await self._rehearse():
            raise Superseded(f"another build of version {build[0]} is installed")
        self._troubles.note("package", f"version {build[0]} is installed and does not start")

    async def _look_at_config(self) -> None:
        try:
            config = await self._disk.do(lambda: site_config.load(self._site))
        except ConfigurationError as error:
            self._troubles.note("site.yaml", wrong(error), cause=error)
            return
        self._troubles.note("site.yaml", "")
        if config != self._basis.config:
            raise Superseded(f"{config.file} has changed")

    async def _look_at_enrolment(self) -> None:
        try:
            enrolment = await self._disk.do(lambda: Enrolment.read(self._site))
        except ConfigurationError as error:
            self._troubles.note("enrolment", "the site's enrolment cannot be read", cause=error)
            return
        self._troubles.note("enrolment", "")
        if enrolment != self._basis.enrolment:
            raise Superseded("the site has enrolled anew")

    async def _rehearse(self) -> bool:
        """Tell whether what is installed now would begin at all."""
        process = await started(
            asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "compute_functions.site_agent", "check"),
                *("--site-dir", str(self._site.root)),
                stdin=DEVNULL,
                stdout=DEVNULL,
                start_new_session=True,
            )
        )
        try:
            async with ended_if_given_up(process), asyncio.timeout(_REHEARSAL_S):
                return await process.wait() == 0
        except TimeoutError:
            return False


def wrong(error: ConfigurationError) -> str:
    """Say which of the site's files is wrong, and where; the log has the whole reason."""
    if isinstance(error, FieldError):
        place = f"{error.file.name}, line {error.line}: {error.field} is wrong"
    else:
        place = "a file of the site is wrong"
    return f"{place}; the agent goes on with what it read before"
