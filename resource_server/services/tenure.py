"""How long this process is surely the active controller, also if it is stopped meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from resource_server.domain import errors


def clock() -> float:
    """Return seconds that also count while the process is stopped or the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeasedTenure:
    """A tenure that lasts for a term from when its lease was last asked for; see `ports.Tenure`.

    The database counts the same term from when it answers, which is later: so whoever is still
    within ours has no successor.
    """

    def __init__(
        self, fence: int, *, asked_at: float, term_s: float, clock: Callable[[], float] = clock
    ) -> None:
        self._fence = fence
        self._term_s = term_s
        self._clock = clock
        self._good_until = asked_at + term_s

    @property
    def fence(self) -> int:
        """Its number; see `ports.Tenure`."""
        return self._fence

    def require(self) -> None:
        """Raise `LeaseLost` unless it surely goes on; see `ports.Tenure`."""
        if self._clock() >= self._good_until:
            raise errors.LeaseLost

    def renewed(self, *, asked_at: float) -> None:
        """Begin another term: the lease was renewed, and that was asked for at this moment."""
        self._good_until = asked_at + self._term_s
