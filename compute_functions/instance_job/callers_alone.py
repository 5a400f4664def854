"""How soon callers get their first tokens when no batch is beside them.

It is the latest one in a hundred that is told, for that is what batches change first: what they do
to callers comes and goes, so that most of these notice nothing. Long requests take longer than
short ones; each class of sizes is known for itself. The class knows no clock.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

#: So few known ones are enough to judge by.
FEWEST = 8
#: This part of them is the latest; of few, so many, for one may be late for any reason.
_LATEST, _FEWEST_LATEST = 0.01, 2
#: What is known is believed for so long after the last of it (seconds); of so many, or of fewer
#: that may be so old, for in a short time without batches too few come to tell of the latest.
_BELIEVED_S, _OLDER_S = 3600.0, 6 * 3600.0
_MOST, _OLDER = 400, 200
#: Who comes at the same moment waited for the same, as all who awaited that the engine begins: they
#: are one (seconds).
_APART_S = 0.1
#: Nothing is measured more finely (seconds).
_TICK_S = 1e-3


@dataclass(frozen=True, slots=True)
class Usual:
    """All but this part of callers, `latest`, wait for at most so long (seconds)."""

    seconds: float
    latest: float


@dataclass(frozen=True, slots=True)
class _Known:
    at: float
    seconds: float


class CallersAlone:
    """Remembers first tokens; of each class of sizes the last ones."""

    def __init__(self) -> None:
        self._known: dict[int, deque[_Known]] = defaultdict(lambda: deque(maxlen=_MOST))

    def note(self, seconds: float, *, size: int, now: float) -> None:
        """Note how long it took after a request of so many bytes."""
        known = self._known[_kind(size)]
        if not known or now - known[-1].at >= _APART_S:
            known.append(_Known(now, seconds))

    def usual(self, size: int, *, now: float) -> Usual | None:
        """Return what such requests have; None if nobody knows."""
        known = self._known.get(_kind(size))
        if not known or now - known[-1].at > _BELIEVED_S:
            return None
        seconds = sorted(
            one.seconds
            for place, one in enumerate(reversed(known))
            if now - one.at <= (_OLDER_S if place < _OLDER else _BELIEVED_S)
        )
        if len(seconds) < FEWEST:
            return None
        # So that the next one is later than the first of these with just that probability.
        later = max(int(_LATEST * (len(seconds) + 1)), _FEWEST_LATEST)
        return Usual(seconds=max(seconds[-later], _TICK_S), latest=later / (len(seconds) + 1))


def _kind(size: int) -> int:
    """Return a class of requests that are about as large: within four times."""
    return size.bit_length() // 2
