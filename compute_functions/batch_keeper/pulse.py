"""Whether a runner is alive: one that is tells its progress every second."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

#: Between two looks no more than this counts as silence (seconds): then it was the one who looks
#: that was held up.
_MOST_APART_S = 2.0


class Pulse:
    """For how long one runner was silent, as its file tells."""

    def __init__(self, progress: Path) -> None:
        self._progress = progress
        self._told: tuple[int, int] | None = None
        self._looked_at: float | None = None
        self.silent_s = 0.0

    async def keep_looking(self, every_s: float) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.to_thread(lambda: self.look(time.monotonic()))
            await asyncio.sleep(every_s)

    def look(self, now: float) -> None:
        """Look at `now` (monotonic); blocks.

        A disk that says nothing tells nothing of the runner.
        """
        try:
            told = _stamp(self._progress)
        except OSError:
            self._looked_at = None
            return
        since = now if self._looked_at is None else self._looked_at
        self.silent_s += min(now - since, _MOST_APART_S)
        if told != self._told:
            self.silent_s = 0.0
        self._told, self._looked_at = told, now


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what is another for each file that is put there; None for none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - its errors, all of them
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
