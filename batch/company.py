"""Which lines are under way together: ever fewer with one that was lost with its engine.

An engine that dies takes every line along that it has. One of them may be what kills it, and nobody
can see which. So a line that was lost once is asked beside few others, and one that was lost twice
is asked alone. Whoever loses the engine while it is alone is what the engine was lost to.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

#: With a line that was lost once so many are under way, itself among them. Near the square root of
#: the most that ever are: it takes as many such groups as a group has lines to be asked alone.
COMPANY = 32
#: A line that was lost so often is asked alone.
ALONE_FROM = 2
#: The line itself is to blame when it was lost so often, the last times alone: an engine may be
#: lost to something else while one line has it, but not twice to the same line.
MOST_LOSSES = 4


def is_suspect(losses: int) -> bool:
    """Return whether a line that was lost so often is asked after all others, and with care."""
    return losses > 0


def _most(losses: int) -> float:
    """Return how many lines may be under way beside and with one that was lost so often."""
    if losses >= ALONE_FROM:
        return 1
    return COMPANY if is_suspect(losses) else math.inf


def asked_alone(losses: Mapping[int, int]) -> list[int]:
    """Return the lines that are asked alone, of some that were lost so often."""
    return [number for number, lost in losses.items() if lost >= ALONE_FROM]


class Company:
    """The lines that are under way, by how often each was lost before. Told of every one."""

    def __init__(self) -> None:
        self._levels: Counter[int] = Counter()
        self._joined = 0
        #: The last line that joined another one.
        self._mixed = 0

    def admits(self, losses: int) -> bool:
        """Whether a line that was lost so often may be asked now."""
        most = min(map(_most, (losses, *self._levels)))
        return self._levels.total() < most

    def join(self, losses: int) -> int:
        """Note that a line is begun; returns its place in the order of all."""
        self._joined += 1
        if self._levels:
            self._mixed = self._joined
        self._levels[losses] += 1
        return self._joined

    def leave(self, losses: int) -> None:
        """Note that a line is not under way any more."""
        self._levels[losses] -= 1
        self._levels += Counter()  # Levels that nobody has are dropped.

    def was_alone(self, place: int) -> bool:
        """Whether nobody was under way with the line of this place, until now."""
        return self._mixed < place
