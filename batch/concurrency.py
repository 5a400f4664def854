"""How many requests to have under way: enough to fill the engine, and not many more.

An engine that tells how many requests wait in it is filled until a few do. Of another one the
throughput is measured: the limit grows while that grows. Either way a busy engine, or one that
does not answer in time, halves it. The class knows no clock; whoever uses it says what time it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from batch.asking import Bounds
from batch.transports.transport import EngineLoad

#: To begin with; the latter where lines in the engine's queue stand in nobody's way.
START, LONG_START = 32, 64
MOST = 1_024

#: What an engine told is believed for so long (seconds): it is asked more often, also by a runner
#: that callers hold back.
_TOLD_S = 30.0
#: So many may wait in the engine however few it works on; see `Queue`.
_FEW, _SOME, _MANY = 2, 4, 8
#: By then an engine has heard of all that was sent under the last limit (seconds).
_HEARD_S = 1.0
#: So many times in a row it must be full, or swamped, before that counts: arrivals come in bursts.
_LOOKS = 2
#: A window of measurement has at least so many answers, and takes at least so long (seconds).
_ANSWERS, _WINDOW_S = 16, 0.5
#: Throughput has grown, or fallen, when it did by this factor.
_GROWN, _FALLEN = 1.05, 0.9
#: After so many windows at a limit a higher one is tried again.
_PATIENCE = 10
_STEP = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """How many may wait in the engine, as parts of those it works on.

    Up to `few` there may be more; above `many` it is swamped, and the limit falls until `some` do.
    """

    few: float
    some: float
    many: float


#: Whoever comes stands behind what waits.
SHORT = Queue(few=0.1, some=0.15, many=0.25)
#: Others come first, or there are none. Answers of one length end together, at worst all that it
#: works on: what waits takes their places at once, what follows is on its way meanwhile.
LONG = Queue(few=0.9, some=1.0, many=1.5)
#: Where the engine works on a line for longer (seconds) a long queue gains nothing: what waits in
#: it would only be late, for its own time-out and for the end of its runner.
_LONG_WORK_S = 10.0
#: What an answer counts for beside those before.
_NEWS = 0.1


@dataclass(slots=True)
class _Window:
    """What came since the limit was last looked at."""

    since: float
    to_skip: int = 0
    answers: int = 0
    weight: float = 0.0
    filled: bool = False


class Concurrency:
    """The limit of requests under way. Told of every event, in the order of time."""

    def __init__(self, *, start: int = START, most: int = MOST, queue: Queue = SHORT) -> None:
        self._most = max(most, 1)
        self._queue = queue
        self._limit = float(min(start, self._most))
        self._window: _Window | None = None
        self._told_at = float("-inf")
        self._swamped = self._filled = 0
        #: Whether the limit was never high enough: then it doubles.
        self._slow_start = True
        self._last_rate = 0.0
        self._last_limit = self._limit
        self._rested = 0
        self._cut_at = self._changed_at = float("-inf")
        self._under_way = 0
        self._taken = self._limit
        #: How long lines were under way lately, and the part of that in which they were worked on.
        self._under_way_s, self._working = 0.0, 1.0

    @property
    def limit(self) -> int:
        """How many requests may be under way."""
        return max(int(self._limit), 1)

    @property
    def under_way(self) -> int:
        """How many requests are."""
        return self._under_way

    @property
    def rises(self) -> bool:
        """Whether it was never high enough: then a look at the engine is worth more than later."""
        return self._slow_start and self._limit < self._most

    def bound(self, bounds: Bounds) -> float:
        """Return the limit within what the outside allows, while others need the engine.

        Less than one is one line at a time, for that part of the time.
        """
        most = self._most if bounds.most is None else max(bounds.most, 1)
        limit = min(self.limit, most)
        if not bounds.interactive:
            return limit
        # Without one line under way nothing would ever end.
        shared = limit if bounds.share >= 1 else int(bounds.share * min(self._taken, most))
        return min(limit, max(shared, 1) * bounds.allowance)

    def began(self, now: float) -> None:
        """Note that a request was sent."""
        self._under_way += 1
        window = self._window = self._window or _Window(since=now)
        window.filled = window.filled or self._under_way >= self.limit

    def answered(self, now: float, weight: float, *, took_s: float = 0.0) -> None:
        """Note a sound answer; `weight` is what it was worth, as tokens."""
        self._under_way_s += (took_s - self._under_way_s) * (_NEWS if self._under_way_s else 1.0)
        told = now - self._told_at < _TOLD_S
        if not told:
            self._taken = max(self._taken, min(self._under_way, self.limit))
        self._under_way -= 1
        window = self._window
        if window is None or told:
            return
        if window.to_skip > 0:
            window.to_skip -= 1
            window.since = now
            return
        window.answers += 1
        window.weight += weight
        if window.answers >= max(_ANSWERS, self.limit) and now - window.since >= _WINDOW_S:
            self._judge(window, now)

    def failed(self) -> None:
        """Note that a request ended otherwise, which says nothing of the engine."""
        self._under_way -= 1

    def cut(self, *, began: float, now: float) -> None:
        """Note that the engine is busy or slow: halve, once for all that began before the last."""
        if began < self._cut_at:
            return
        self._cut_at = now
        self._slow_start = False
        # What was measured above the limit is no mark for what comes below it.
        self._last_rate = 0.0
        # What was under way was too much, however high the limit.
        self._set(min(self._limit, self._under_way + 1) / 2, now)
        self._taken = min(self._taken, self._limit)

    def told(self, load: EngineLoad, now: float) -> None:
        """Note what the engine says of itself."""
        self._told_at = now
        running = max(load.running, 1)
        self._working += (running / (running + load.waiting) - self._working) * _NEWS
        queue = self._queue if self._under_way_s * self._working <= _LONG_WORK_S else SHORT
        # What waits is not what it takes.
        self._taken = max(self._taken, min(running, self._under_way))
        if load.waiting > max(_MANY, running * queue.many):
            self._swamped += 1
            if self._swamped >= _LOOKS:
                self._shrink(load, queue, now)
            return
        self._swamped = 0
        if load.waiting > max(_FEW, running * queue.few):
            self._filled += 1
            if self._filled >= _LOOKS:
                self._slow_start = False
                self._taken = min(self._taken, running)
            return
        self._filled = 0
        self._raise_if_full(load, queue, now)

    def _raise_if_full(self, load: EngineLoad, queue: Queue, now: float) -> None:
        full = self._under_way >= 0.9 * self.limit
        # Of what was sent a moment ago it may not have heard yet.
        heard = load.running + load.waiting >= 0.9 * self._under_way
        fresh = now - self._changed_at < _HEARD_S
        if full and (heard or not fresh):
            higher = self._limit * (2 if self._slow_start else _STEP)
            if load.waiting > _FEW:
                # It is full, so that one knows how many it takes.
                higher = min(higher, max(_wanted(load, queue), self._limit))
            self._set(higher, now)

    def _shrink(self, load: EngineLoad, queue: Queue, now: float) -> None:
        self._slow_start = False
        self._swamped = 0
        # Of what is there others may have their part.
        part = min(self._limit / (load.running + load.waiting), 1.0)
        target = part * _wanted(load, queue)
        if target < self._limit:
            self._set(target, now)
            self._taken = min(self._taken, float(max(load.running, 1)))

    def _judge(self, window: _Window, now: float) -> None:
        """Grow, go back, or stay: a window is full."""
        rate = window.weight / (now - window.since)
        grown = rate > self._last_rate * _GROWN
        if not window.filled:
            self._again(now)
        elif grown or (not self._slow_start and self._rested >= _PATIENCE):
            self._last_rate, self._last_limit = rate, self._limit
            self._set(self._limit * (2 if self._slow_start else _STEP), now)
        elif self._limit > self._last_limit:
            # The last step gained nothing.
            self._slow_start = False
            self._set(self._last_limit, now)
        else:
            self._rested += 1
            self._last_rate = rate
            self._again(now)

    def _set(self, limit: float, now: float) -> None:
        self._limit = min(max(limit, 1.0), float(self._most))
        self._rested = 0
        self._changed_at = now
        # What was sent under another limit says nothing of this one.
        self._window = _Window(since=now, to_skip=self._under_way)

    def _again(self, now: float) -> None:
        self._window = _Window(since=now)


def _wanted(load: EngineLoad, queue: Queue) -> float:
    """Return how many requests there should be in the engine."""
    return load.running + max(_SOME, load.running * queue.some)
