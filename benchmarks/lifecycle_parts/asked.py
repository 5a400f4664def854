"""One request of the load, and what became of it; and the same of all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise


class End(StrEnum):
    """How a request ended."""

    WHOLE = "whole"
    #: A status that is an error, before anything else came.
    REFUSED = "refused"
    #: An answer that says that it broke off: a stream with an error event.
    HONEST = "honest"
    #: A connection that broke, or a stream that ended without its end and without a word.
    CUT = "cut"
    #: Nobody took the connection.
    UNREACHABLE = "unreachable"
    #: It took longer than anything may.
    HUNG = "hung"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: `streams` tells what was asked for, times are of the monotonic clock.

    `first_at` is when the first word came. `detail` is a status or an error's code.
    """

    streams: bool
    began_at: float
    ended_at: float
    end: End
    first_at: float | None = None
    words: int = 0
    node: str = ""
    detail: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended_at - self.began_at

    def spans(self, since: float, until: float) -> bool:
        """Tell whether it was under way all the time between two moments."""
        return self.began_at <= since and self.ended_at >= until


@dataclass(frozen=True, slots=True)
class Outcome:
    """All requests of a load."""

    asked: Sequence[Asked]

    def count(self, *ends: End, streams: bool | None = None) -> int:
        """Return how many ended so."""
        return sum(one.end in ends and streams in (None, one.streams) for one in self.asked)

    @property
    def failed(self) -> int:
        """How many did not come to their end, whatever they said about it."""
        return len(self.asked) - self.count(End.WHOLE)

    @property
    def longest_s(self) -> float:
        """How long the slowest answer in one piece took."""
        return max((one.seconds for one in self.asked if not one.streams), default=0.0)

    @property
    def silence_s(self) -> float:
        """For how long nobody got an answer in one piece, at most."""
        ends = sorted(
            one.ended_at for one in self.asked if one.end is End.WHOLE and not one.streams
        )
        return max((later - sooner for sooner, later in pairwise(ends)), default=0.0)

    def spanning(self, since: float, until: float) -> int:
        """Return how many streams were whole and outlasted the time between two moments."""
        return sum(
            one.streams and one.end is End.WHOLE and one.spans(since, until) for one in self.asked
        )

    def within(self, since: float, until: float) -> Outcome:
        """Return the requests that were under way at some time between two moments."""
        return Outcome(
            [one for one in self.asked if one.ended_at >= since and one.began_at <= until]
        )

    def told(self) -> str:
        """Return in words how many ended how."""
        counts = Counter(
            (one.end.value, one.detail) for one in self.asked if one.end is not End.WHOLE
        )
        whole = self.count(End.WHOLE)
        words = (f"{number} {end} {detail}".strip() for (end, detail), number in counts.items())
        return ", ".join([f"{whole} whole", *words])


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the requests of several loads as one."""
    return Outcome([one for outcome in outcomes for one in outcome.asked])
