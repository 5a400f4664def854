"""Notices when the host's clock is set: no deadline may be over because of that."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger("hotnode.site_agent")

#: Two clocks that drift apart by less since the last look just drift (seconds).
_DRIFT_S = 2.0


class ClockSteps:
    """Compares `now`, the time since the epoch, with `clock`, which nobody sets."""

    def __init__(self, *, now: Callable[[], float], clock: Callable[[], float]) -> None:
        self._now = now
        self._clock = clock
        self._apart = now() - clock()

    def last(self) -> float:
        """Return by how much the clock was set since this was last asked; 0 if it was not."""
        before, self._apart = self._apart, self._now() - self._clock()
        step = self._apart - before
        if abs(step) < _DRIFT_S:
            return 0.0
        log.warning("clock_was_set by_s=%.1f", step)
        return step
