"""The time as this local Globus sees it: the wall clock, which a test may move forward."""

from __future__ import annotations

import time


class Clock:
    """Tell the time in seconds since the epoch."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now(self) -> float:
        """Return the current time, never less than what was returned before a move."""
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Move the time forward, so that tokens, logins and results age at once."""
        self._ahead_s += seconds
