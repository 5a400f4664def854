"""How often progress is told where nobody looks at a terminal."""

from __future__ import annotations

import time

#: A line this often at most (seconds).
EVERY_S = 10.0


class Often:
    """Lets progress pass now and then, and at once when something else is the case."""

    def __init__(self) -> None:
        self._case: object = None
        self._at = float("-inf")

    def allows(self, case: object) -> bool:
        """Say whether it is to be told now that this is the case."""
        now = time.monotonic()
        if case == self._case and now - self._at < EVERY_S:
            return False
        self._case, self._at = case, now
        return True
