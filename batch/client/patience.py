"""Asks again until there is an answer: growing pauses, said aloud, and an end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from batch.client.errors import NoAnswer, Unreachable

T = TypeVar("T")

#: How long others may keep us waiting by what they say (seconds).
_LONGEST_TOLD_S = 120.0


def silent(words: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """For how long to ask again, with which pauses (seconds), and whom to tell meanwhile."""

    timeout_s: float = 600.0
    first_s: float = 1.0
    longest_s: float = 30.0
    say: Callable[[str], None] = silent

    async def until_answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what `ask` returns; while it raises `NoAnswer`, ask again.

        Raises `Unreachable` when that has gone on for too long.
        """
        since, pause_s = time.monotonic(), self.first_s
        while True:
            try:
                return await ask()
            except NoAnswer as trouble:
                left_s = self.timeout_s - (time.monotonic() - since)
                if left_s <= 0:
                    raise Unreachable(f"{trouble}, for {self.timeout_s:g} s") from trouble
                wait_s = min(self._wait_s(pause_s, trouble), left_s)
                self.say(f"{trouble}; asking again in {wait_s:.0f} s")
                await asyncio.sleep(wait_s)
                pause_s = min(2 * pause_s, self.longest_s)

    def _wait_s(self, pause_s: float, trouble: NoAnswer) -> float:
        # Thousands who watch must not come back in the same moment.
        jittered = pause_s * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        return max(jittered, min(trouble.after_s, _LONGEST_TOLD_S))
