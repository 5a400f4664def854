"""Lines that wait to be asked again: some until a moment, suspects until nobody else is left."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import NamedTuple

from batch.company import MOST_LOSSES, is_suspect


class _Delayed(NamedTuple):
    due: float
    number: int


class _Suspect(NamedTuple):
    """The least suspected ones come first: they may tell that the engine is sound."""

    losses: int
    due: float
    number: int


class Waiting:
    """Begins with the lines that earlier runners lost. Knows no clock."""

    def __init__(self, losses: Mapping[int, int]) -> None:
        self._delayed: list[_Delayed] = []
        self._suspects: list[_Suspect] = []
        for number, lost in losses.items():
            self.put(number, due=-math.inf, losses=lost)

    def __bool__(self) -> bool:
        return bool(self._delayed or self._suspects)

    def put(self, number: int, *, due: float, losses: int) -> None:
        """Take a line until it is asked again. One that is to blame is asked nothing any more."""
        if is_suspect(losses) and losses < MOST_LOSSES:
            heapq.heappush(self._suspects, _Suspect(losses, due, number))
        else:
            heapq.heappush(self._delayed, _Delayed(due, number))

    def due(self, now: float) -> int | None:
        """Return a line whose time has come, if there is one that is no suspect."""
        if self._delayed and self._delayed[0].due <= now:
            return heapq.heappop(self._delayed).number
        return None

    def next_suspect(self, now: float) -> int | None:
        """Return how often the next suspect was lost; None if none is due."""
        if self._suspects and self._suspects[0].due <= now:
            return self._suspects[0].losses
        return None

    def suspect(self) -> int:
        """Return the next suspect; there must be one."""
        return heapq.heappop(self._suspects).number

    def wait_s(self, now: float, most: float) -> float:
        """Return how long it is until some line is due, at most so long (seconds).

        A suspect that is due waits for others to end, not for a moment.
        """
        waits = [max(line.due - now, 0.005) for line in self._delayed[:1]]
        waits += [line.due - now for line in self._suspects[:1] if line.due > now]
        return min([most, *waits])
