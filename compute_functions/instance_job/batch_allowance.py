"""How much of an engine batches may take beside callers: as long as these hardly notice.

Callers notice by their first tokens, which come later when lines of batches are under way. One that
is later than all but a few are to callers alone takes much of the allowance, one that is in time
gives a little: so much that both are even while just these few are late. Where it is not known how
soon they come to callers alone, or where they are late whatever is taken back, batches stand back
for a while. The class knows no clock; whoever uses it says what time it is (seconds).
"""

from __future__ import annotations

from dataclasses import dataclass

from compute_functions.instance_job.callers_alone import CallersAlone, Usual

#: Callers are there for so long after the last of them came.
PRESENT_S = 10.0
#: A window has so many first tokens, and at least so long; or those of so long a time: shorter
#: than a caller is there, so that one who comes seldom is in one, too.
WINDOW, SHORTEST_WINDOW_S, WINDOW_S = 8, 2.0, 8.0
#: The first batch of an instance begins with this beside callers, and none ever has less.
FLOOR = 0.005
#: By so much a window gives more, while nobody was late lately; what one that is late leaves.
_MORE, _LESS = 1.3, 0.5
#: No more than this part of callers may be late, also where so few are known alone that their
#: latest are more.
_MOST_LATE = 0.02
#: From this part of the slowdown that is allowed a token is late, and this part of those who may be
#: late is aimed at: to find the limit again and again costs some, and some that come later still.
_NEAR, _AIM = 0.5, 0.5
#: Nobody was late lately when so many came in time that so many late ones were to be expected; or
#: when nobody was measured for so long.
_CALM, UNMEASURED_S = 3.0, 600.0
#: Late ones that are not held against what batches have now are not held against it for ever.
_MOST_OWED = 20.0
#: When batches must take less, callers feel it by then, and if lines are long a while later.
_FELT_S, _LONG_FELT_S = 1.0, 3.0
#: For so long batches stand back, from their last line on; with that line; how often; and until
#: they know so many.
REST_S, MOST_REST_S, REST_EVERY_S, RESTED = 20.0, 120.0, 600.0, 100
#: By then runners know that they must stand back, and have told what they still have under way.
_HEARD_S = 1.5
#: So many first tokens that can be compared with nothing are a reason for that.
UNKNOWN = 8


@dataclass(slots=True)
class _Rest:
    """A time in which batches stand back: since when, and since when nothing is under way."""

    since: float
    quiet_since: float | None = None
    seen: int = 0

    def is_over(self, now: float) -> bool:
        """Tell whether enough is known, or it was waited for long enough."""
        quiet_s = 0.0 if self.quiet_since is None else now - self.quiet_since
        return self.seen >= RESTED or quiet_s >= REST_S or now - self.since >= MOST_REST_S


@dataclass(frozen=True, slots=True)
class _Fall:
    """Batches are to take less since then; so many lines were under way.

    `of_allowance` is whether it was the allowance that was too much.
    """

    at: float
    lines: int
    of_allowance: bool = True

    def is_felt(self, now: float, lines: int) -> bool:
        """Tell whether callers who come now wait for less."""
        since_s = now - self.at
        fewer = lines <= max(1.0, self.lines * _LESS)
        return since_s >= _LONG_FELT_S or (fewer and since_s >= _FELT_S)


class BatchAllowance:
    """The part, from 0 to 1, of what batches would take otherwise. Told of events in their order.

    `slowdown` is by how much later the latest first tokens may come than to callers alone (1.25: a
    quarter).
    """

    def __init__(self, slowdown: float) -> None:
        self._limit = 1 + (slowdown - 1) * _NEAR
        self._allowance = FLOOR
        self._beside = False
        self._lines = self._callers = 0
        self._alone_since = float("-inf")
        self._came_at = float("-inf")
        self._alone = CallersAlone()
        self._falling: _Fall | None = None
        self._fell = _Fall(float("-inf"), 0)
        self._felt_at = self._measured_at = float("-inf")
        self._calm = _CALM
        #: How many late ones are still to be made up for by those in time.
        self._owed = 0.0
        #: Whether one was late when there was nothing left to take back.
        self._in_vain = False
        self._window_at = float("-inf")
        self._known = self._unknown = 0
        self._rest: _Rest | None = None
        self._rested_at = float("-inf")

    def has_callers(self, now: float) -> bool:
        """Whether there are callers: one came lately."""
        return now - self._came_at <= PRESENT_S

    def came(self, now: float) -> None:
        """Note that a caller's request went to the engine."""
        if not self.has_callers(now):
            self._window_at = now
            if self._beside and not self._callers:
                # There was nobody, and batches took all of the engine: not by the allowance.
                self._falling = _Fall(now, self._lines, of_allowance=False)
        self._came_at = now

    def first_token(self, *, seconds: float, size: int, now: float) -> None:
        """Note how long a caller's first token took, who had sent a body of so many bytes."""
        asked_at = now - seconds
        if not self._beside:
            # Who asked when there still was a batch was not alone.
            if asked_at >= self._alone_since:
                self._alone.note(seconds, size=size, now=now)
        elif self._rest is not None:
            quiet_since = self._rest.quiet_since
            if quiet_since is not None and asked_at >= quiet_since:
                self._rest.seen += 1
                self._alone.note(seconds, size=size, now=now)
        elif (usual := self._alone.usual(size, now=now)) is not None:
            self._known += 1
            self._measured_at = now
            self._judge(seconds, usual, now)
        else:
            self._unknown += 1

    def gave_up(self, *, seconds: float, size: int, now: float) -> None:
        """Note that a caller left after so long, before the first token came."""
        if not self._beside or self._rest is not None:
            return
        usual = self._alone.usual(size, now=now)
        # Whether it would have been in time nobody knows.
        if usual is not None and self._is_late(seconds, usual):
            self._judge(seconds, usual, now)

    def look(self, now: float, *, runners: int, lines: int, callers: int = 0) -> float:
        """Return the allowance.

        So many runners are at work, and have so many lines under way; so many requests of callers
        are under way.
        """
        self._note_batches(now, runners)
        self._lines, self._callers = lines, callers
        if self._falling is not None and self._falling.is_felt(now, lines):
            self._fell, self._falling, self._felt_at = self._falling, None, now
        if self._rest is not None:
            self._attend(self._rest, now, lines)
        elif self._beside and (callers or self.has_callers(now)):
            self._go_on(now)
        return self._allowance if self._rest is None else 0.0

    def _note_batches(self, now: float, runners: int) -> None:
        if runners and not self._beside:
            self._open_window(now)
        if self._beside and not runners:
            self._alone_since = now
        self._beside = runners > 0

    def _go_on(self, now: float) -> None:
        """Stand back, or end a window, if it is time."""
        if self._wants_rest(now):
            self._rest, self._rested_at = _Rest(now), now
            self._in_vain, self._unknown = False, 0
        elif self._is_full(now):
            self._end_window(now)

    def _attend(self, rest: _Rest, now: float, lines: int) -> None:
        if lines:
            rest.quiet_since, rest.seen = None, 0
        elif rest.quiet_since is None and now - rest.since >= _HEARD_S:
            rest.quiet_since = now
        has_callers = self._callers or self.has_callers(now)
        if not self._beside or not has_callers or rest.is_over(now):
            self._rest = None
            self._open_window(now)

    def _is_late(self, seconds: float, usual: Usual) -> bool:
        return seconds > self._limit * usual.seconds

    def _judge(self, seconds: float, usual: Usual, now: float) -> None:
        # What may have been too much for this caller was taken back since.
        falls = self._falling or (self._fell if now - seconds < self._felt_at else None)
        if not self._is_late(seconds, usual):
            self._note_in_time(min(usual.latest, _MOST_LATE), may_give=falls is None)
        elif falls is None:
            self._take_back(now)
        elif falls.of_allowance and self._allowance > FLOOR:
            # Not once more: those in time make up for it.
            self._owed = min(self._owed + 1, _MOST_OWED)

    def _take_back(self, now: float) -> None:
        if self._allowance <= FLOOR:
            self._in_vain = True
        self._allowance = max(FLOOR, self._allowance * _LESS)
        self._falling = _Fall(now, self._lines)
        self._calm = 0.0

    def _note_in_time(self, part: float, *, may_give: bool) -> None:
        """Make up for a part of who was late, or give a little; this part may be late."""
        # Of one that is late: so many of these and it are even, where half of that part is late.
        worth = part * _AIM / (1 - part * _AIM)
        if self._owed:
            self._owed = max(0.0, self._owed - worth)
        elif may_give:
            self._give(_LESS**-worth)
            self._calm += part
            self._in_vain = self._in_vain and self._calm < _CALM

    def _wants_rest(self, now: float) -> bool:
        if now - self._rested_at < REST_EVERY_S:
            return False
        # Callers may be late for other reasons, as for being many: then they are so alone, too.
        return self._unknown >= UNKNOWN or self._in_vain

    def _is_full(self, now: float) -> bool:
        since_s = now - self._window_at
        return since_s >= (SHORTEST_WINDOW_S if self._known >= WINDOW else WINDOW_S)

    def _end_window(self, now: float) -> None:
        if self._is_unmeasured(now):
            # Nobody who waits for a first token says that it is too much.
            self._calm = _CALM
        # Who came and has no first token yet may be waiting.
        is_told = self._known or self._came_at < self._window_at
        if self._calm >= _CALM and (is_told or self._is_unmeasured(now)):
            self._give(_MORE)
        self._open_window(now)

    def _is_unmeasured(self, now: float) -> bool:
        return now - self._measured_at >= UNMEASURED_S

    def _give(self, factor: float) -> None:
        self._allowance = min(1.0, self._allowance * factor)

    def _open_window(self, now: float) -> None:
        self._window_at, self._known = now, 0
