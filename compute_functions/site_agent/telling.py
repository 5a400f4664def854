"""Keeps the observation: hubs are told of each change, and a file has it for everybody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from compute_functions.contract import AgentReport, SiteStatus
from compute_functions.site_agent import ensuring, json_file, observation
from compute_functions.site_agent.disk import Disk
from compute_functions.site_agent.setup import Setup

#: An observation is written at least so often, changed or not (seconds).
WRITE_S = 5.0


class Telling:
    """The last observation. `told` is called when it has changed, before it is written."""

    def __init__(self, setup: Setup, *, disk: Disk, told: Callable[[], None]) -> None:
        self._setup = setup
        self._disk = disk
        self._told = told
        self._last: SiteStatus | None = None
        self._written_at: float | None = None

    @property
    def last(self) -> SiteStatus | None:
        """What was observed last; None if nothing was."""
        return self._last

    async def tell(self, found: SiteStatus) -> None:
        """Pass an observation on, and write it down if it has changed or that is due."""
        changed = self._pass_on(found)
        now = self._setup.clock()
        if changed or self._written_at is None or now - self._written_at >= WRITE_S:
            await self._write(found)

    async def tell_trouble(self, report: AgentReport, *, can_write: bool) -> None:
        """Tell what is wrong; of the instances what was seen last."""
        now = self._setup.now()
        found = replace(self._last or SiteStatus(observed_at=now), observed_at=now, agent=report)
        self._pass_on(found)
        if can_write:
            await self._write(found)

    def _pass_on(self, found: SiteStatus) -> bool:
        changed = not observation.same(found, self._last)
        self._last = found
        if changed:
            self._told()
        return changed

    async def _write(self, found: SiteStatus) -> None:
        file = ensuring.observed_file(self._setup.site)
        write = partial(json_file.write, file, found.to_wire())
        await self._disk.do(partial(self._setup.mine, write))
        self._written_at = self._setup.clock()
