"""What a job looks at while its instance lives: how busy its GPUs are."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from compute_functions.errors import DriverFailed

log = logging.getLogger("hotnode.launcher")

EVERY_S = 10.0
#: A tool that hangs on a broken GPU may leave a process each time: it is asked ever less often.
_LONGEST_S = 640.0


class Gauge(Protocol):
    """Tells how busy GPUs are."""

    async def percent(self) -> float | None:
        """Return it, or None where nobody knows; raises `DriverFailed` if nobody answers."""
        ...


class GpuWatch:
    """Asks now and then how busy the job's GPUs are. That nobody knows is no failure."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._last_trouble = ""
        self.percent: float | None = None
        self.pause_s = EVERY_S

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self.pause_s)

    async def look(self) -> None:
        """Look once; what nobody can say now is not known, whatever was said before."""
        trouble = ""
        try:
            self.percent = await self._gauge.percent()
        except DriverFailed as error:
            self.percent, trouble = None, str(error)
        self.pause_s = min(2 * self.pause_s, _LONGEST_S) if trouble else EVERY_S
        if trouble and trouble != self._last_trouble:
            log.warning("gpu_use_unknown error=%s", trouble)
        self._last_trouble = trouble
