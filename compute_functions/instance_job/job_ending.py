"""When an instance that runs in a job ends, and how long what is under way may take then."""

from __future__ import annotations

import asyncio
import logging
import math
import time

log = logging.getLogger("hotnode.launcher")

#: Before the walltime ends, the engine must be gone: clocks differ (seconds).
MARGIN_S = 5.0
#: So much is kept for the engine's own end, when streams take long (seconds).
ENDING_S = 5.0
#: After SIGTERM time is counted by our own clock: of a short patience each takes this part only.
_HASTY_PART = 0.2
#: A metric may be wrong: requests that only the engine knows of are waited for no longer (seconds).
OTHERS_S = 600.0
#: Of its walltime an instance that nobody drains keeps at most this part for that.
_LARGEST_PART = 0.25


class JobEnding:
    """An `Ending` that is asked for by the agent, the scheduler, or the walltime.

    Times are seconds since the epoch. `told_until` is what the agent allows to what is under way,
    `ends_at` when the walltime is over; both may change at any time. `drain_s` before that an
    instance takes no new requests; `kill_wait_s` after SIGTERM the scheduler kills.
    """

    def __init__(
        self, *, ends_at: float, walltime_s: float, drain_s: float, kill_wait_s: float
    ) -> None:
        self.ends_at = ends_at
        self.told_until: float | None = None
        self._lead_s = min(drain_s, _LARGEST_PART * walltime_s)
        self._kill_wait_s = kill_wait_s
        self._haste = min(1.0, _HASTY_PART * kill_wait_s / MARGIN_S)
        self._asked = asyncio.Event()
        self._why = ""
        self._killed_at = math.inf

    @property
    def drains_at(self) -> float:
        """When the walltime is nearly over."""
        return self.ends_at - self._lead_s

    def ask(self, why: str) -> None:
        """Ask for the end; the first reason counts."""
        if not self._asked.is_set():
            self._why = why
            self._asked.set()
            log.info("end_asked_for reason=%s", why)

    def terminate(self) -> None:
        """Take note of the scheduler's SIGTERM: it kills soon."""
        self._killed_at = min(self._killed_at, time.time() + self._kill_wait_s)
        self.ask("the scheduler ends it")

    def warn(self) -> None:
        """Take note of a signal that the scheduler sends some time before the end."""
        self.ask("the scheduler warns of its end")

    async def asked(self) -> str:
        """Wait until the instance must end; return why."""
        await self._asked.wait()
        return self._why

    def streams_s(self, since: float) -> float:
        """Return how long the relay's streams may still take."""
        return min(self._told_s(), self._left_s(MARGIN_S + ENDING_S))

    def others_s(self, since: float) -> float:
        """Return how long requests may still take that only the engine knows of."""
        return min(self.streams_s(since), since + OTHERS_S - time.monotonic())

    def engine_s(self, since: float, wanted_s: float) -> float:
        """Return how long the engine may take to end."""
        return max(0.0, min(wanted_s, self._left_s(MARGIN_S)))

    def _told_s(self) -> float:
        return math.inf if self.told_until is None else self.told_until - time.time()

    def _left_s(self, kept_s: float) -> float:
        """Return what is left until the scheduler kills, less what is kept for the end."""
        if math.isfinite(self._killed_at):
            # The walltime counts no more: of a cancelled job Slurm says that it is over, and waits
            # all the same. Nor is it later than this: SIGTERM comes before SIGKILL then as well.
            return self._killed_at - self._haste * kept_s - time.time()
        return self.ends_at - kept_s - time.time()
