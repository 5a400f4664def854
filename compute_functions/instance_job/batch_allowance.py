"""How much of an engine batches may take beside callers: as long as these hardly notice.

Callers notice by their first tokens, which come later when lines of batches are under way. How soon
they come to callers alone is known from times without batches; where it is not, batches stand back
for a while. The class knows no clock; whoever uses it says what time it is (seconds).
"""

from __future__ import annotations

import statistics
from collections import defaultdict, deque
from dataclasses import dataclass

#: Callers are there for so long after the last of them came.
PRESENT_S = 10.0
#: So many first tokens are judged at once, or those of so long a time: shorter than a caller is
#: there, so that one who comes seldom is judged, too.
WINDOW, WINDOW_S = 8, 8.0
_FEWEST = 3
#: Fewer are no reason to give batches less; but for so long after one that came late they get no
#: more, unless as many came in time.
DOUBT_S = 60.0
#: Batches begin with this beside callers, and never have less.
FLOOR = 0.005
_MORE, _LESS = 1.3, 0.6
#: From this much of the slowdown that is allowed batches get no more: medians are judged, and what
#: callers remember are the late ones, which come later still.
_NEAR = 0.3
#: For so long batches stand back, from their last line on; with that line; and how often.
REST_S, MOST_REST_S, REST_EVERY_S = 20.0, 120.0, 600.0
#: What callers had alone is believed for so long, from so many of them.
_BELIEVED_S = 3600.0
_ALONE = 64
#: Nothing is measured more finely (seconds).
_TICK_S = 1e-3


@dataclass(frozen=True, slots=True)
class _Alone:
    at: float
    seconds: float


@dataclass(slots=True)
class _Rest:
    """A time in which batches stand back: since when, and since when nothing is under way."""

    since: float
    quiet_since: float | None = None
    seen: int = 0

    def is_over(self, now: float) -> bool:
        """Tell whether enough is known, or it was waited for long enough."""
        quiet_s = 0.0 if self.quiet_since is None else now - self.quiet_since
        return self.seen >= WINDOW or quiet_s >= REST_S or now - self.since >= MOST_REST_S


class BatchAllowance:
    """The part, from 0 to 1, of what batches would take otherwise. Told of events in their order.

    `slowdown` is by how much later first tokens may come than to callers alone (1.25: a quarter).
    """

    def __init__(self, slowdown: float) -> None:
        self._slowdown = slowdown
        self._allowance = FLOOR
        self._beside = False
        self._alone_since = float("-inf")
        self._came_at = float("-inf")
        self._alone: dict[int, deque[_Alone]] = defaultdict(lambda: deque(maxlen=_ALONE))
        self._ratios: list[float] = []
        self._late_at = float("-inf")
        self._unknown = 0
        self._window_at = float("-inf")
        self._rest: _Rest | None = None
        self._rested_at = float("-inf")

    def has_callers(self, now: float) -> bool:
        """Whether there are callers: one came lately."""
        return now - self._came_at <= PRESENT_S

    def came(self, now: float) -> None:
        """Note that a caller's request went to the engine."""
        if not self.has_callers(now):
            self._window_at = now
        self._came_at = now

    def first_token(self, *, seconds: float, size: int, now: float) -> None:
        """Note how long a caller's first token took, who had sent a body of so many bytes."""
        kind = _kind(size)
        if not self._beside:
            # Who asked when there still was a batch was not alone.
            if now - seconds >= self._alone_since:
                self._alone[kind].append(_Alone(now, seconds))
        elif self._rest is not None:
            quiet_since = self._rest.quiet_since
            if quiet_since is not None and now - seconds >= quiet_since:
                self._rest.seen += 1
                self._alone[kind].append(_Alone(now, seconds))
        elif (usual := self._usual(kind, now)) is not None:
            self._ratios.append(seconds / max(usual, _TICK_S))
            self._late_at = now if self._is_late() else self._late_at
        else:
            self._unknown += 1

    def look(self, now: float, *, runners: int, lines: int, callers: int = 0) -> float:
        """Return the allowance.

        So many runners are at work, and have so many lines under way; so many requests of callers
        are under way.
        """
        if runners and not self._beside:
            self._open_window(now)
        if self._beside and not runners:
            self._alone_since = now
        self._beside = runners > 0
        if self._rest is not None:
            self._attend(self._rest, now, lines)
        elif self._is_full(now, callers):
            self._judge(now)
        return self._allowance if self._rest is None else 0.0

    def _attend(self, rest: _Rest, now: float, lines: int) -> None:
        if lines:
            rest.quiet_since = None
        elif rest.quiet_since is None:
            rest.quiet_since = now
        if not self._beside or not self.has_callers(now) or rest.is_over(now):
            self._rest = None
            self._open_window(now)

    def _usual(self, kind: int, now: float) -> float | None:
        """Return how long the first token takes for callers alone; None if nobody knows."""
        known = [one.seconds for one in self._alone[kind] if now - one.at <= _BELIEVED_S]
        return statistics.median(known) if len(known) >= _FEWEST else None

    def _is_late(self) -> bool:
        return statistics.median(self._ratios) > self._slowdown

    def _is_full(self, now: float, callers: int) -> bool:
        if not self._beside or not (callers or self.has_callers(now)):
            return False
        enough = len(self._ratios) + self._unknown >= WINDOW
        return enough or now - self._window_at >= WINDOW_S

    def _judge(self, now: float) -> None:
        if self._unknown > len(self._ratios) and now - self._rested_at >= REST_EVERY_S:
            self._rest, self._rested_at = _Rest(now), now
        elif len(self._ratios) < _FEWEST:
            if now - self._late_at < DOUBT_S:
                self._window_at = now
                return
            # Nobody who waits for a first token says that it is too much.
            self._allowance = min(1.0, self._allowance * _MORE)
        else:
            self._step(statistics.median(self._ratios))
        self._open_window(now)

    def _step(self, ratio: float) -> None:
        if ratio > self._slowdown:
            self._allowance = max(FLOOR, self._allowance * _LESS)
        else:
            self._late_at = float("-inf")
            if ratio < 1 + (self._slowdown - 1) * _NEAR:
                self._allowance = min(1.0, self._allowance * _MORE)

    def _open_window(self, now: float) -> None:
        self._window_at = now
        self._ratios.clear()
        self._unknown = 0


def _kind(size: int) -> int:
    """Return a class of requests that are about as large: within four times."""
    return size.bit_length() // 2
