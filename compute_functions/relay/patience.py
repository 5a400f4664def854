"""A deadline that moves with each part of an answer and costs next to nothing to move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Patience:
    """Calls `at_end` when the time given last is over.

    A timer per token would cost more than the token. So moving the deadline only notes it, and the
    timer looks when it fires whether its time has really come.
    """

    def __init__(self, at_end: Callable[[], None]) -> None:
        self._at_end = at_end
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def left(self) -> float:
        """How much time is left (seconds)."""
        return self._due - self._loop.time()

    def expect(self, within_s: float) -> None:
        """Give so much time from now on."""
        self._due = self._loop.time() + within_s
        if self._timer is None or self._timer.when() > self._due:
            self.end()
            self._timer = self._loop.call_at(self._due, self._fire)

    def end(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._fire)
        else:
            self._at_end()
