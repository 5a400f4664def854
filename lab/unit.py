"""A service of a site that systemd would keep running: started again when it ends, with pauses.

`globus-compute-endpoint enable-on-boot` writes such a unit (`Restart=always`). Here it lives as
long as the `async with` around it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from compute_functions import processes
from lab import descent
from lab.processes import Child, Command, running

#: What killing a unit's processes may take (seconds).
_KILLING_S = 10.0
_NONE = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """How long a unit waits before it starts its command again (seconds)."""

    #: The first time, and after the command has run well for a while; then twice as long each time.
    first_s: float = 1.0
    longest_s: float = 10.0
    #: What counts as having run well.
    well_s: float = 10.0

    def after(self, pause_s: float, *, ran_s: float) -> float:
        """Return the pause that follows on one of `pause_s` and a run of `ran_s`."""
        if ran_s >= self.well_s:
            return self.first_s
        return min(max(2 * pause_s, self.first_s), self.longest_s)


class Unit:
    """A command that is kept running, in the foreground."""

    def __init__(self, command: Command, pauses: Pauses) -> None:
        grace_s = math.ceil(command.grace_s)
        self._command = dataclasses.replace(
            command,
            arguments=descent.command("lab.control_group", str(grace_s), *command.arguments),
            grace_s=grace_s + _KILLING_S,
        )
        self._pauses = pauses
        self._child: Child | None = None
        #: How often the command was started.
        self.starts = 0

    def processes(self) -> set[int]:
        """Return the numbers of the command's process and of all that came of it."""
        return set() if self._child is None else descent.descendants(self._child.pid)

    @property
    def main_pid(self) -> int | None:
        """The number of the command's own process, while it runs."""
        # All others come of it, and so began later.
        starts = ((processes.started(pid), pid) for pid in self.processes())
        return min(((start, pid) for start, pid in starts if start is not None), default=_NONE)[1]

    async def keep(self) -> None:
        """Run the command, again and again; this ends when it is cancelled."""
        pause_s = 0.0
        while True:
            began = time.monotonic()
            async with running(self._command) as child:
                self._child = child
                self.starts += 1
                await child.left(within_s=math.inf)
            self._child = None
            pause_s = self._pauses.after(pause_s, ran_s=time.monotonic() - began)
            await asyncio.sleep(pause_s)


@asynccontextmanager
async def enabled(command: Command, *, pauses: Pauses | None = None) -> AsyncIterator[Unit]:
    """Keep a command running beside the body; it and all that came of it end with the body.

    The command must stay in the foreground. When it ends, for whatever reason, what it leaves
    behind is killed, also what has put itself into the background, and it is started again.
    """
    unit = Unit(command, pauses or Pauses())
    keeper = asyncio.create_task(unit.keep(), name=command.name)
    try:
        yield unit
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})
    if not keeper.cancelled():
        keeper.result()  # It could not be kept.
