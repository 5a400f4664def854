"""Lines to which the engine gave an answer that may be its own fault, while nobody knows whose.

Such a refusal is a line's own if the engine gave other lines sound answers meanwhile: they vouch
for it. While they do not, it is the engine's. When all lines that are left were refused there is
nobody to vouch any more: then they must speak for themselves, if they are few.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

#: So many lines may speak for themselves however few had a sound answer.
FEW = 16


class Doubts:
    """Of one engine: which lines it refused, and when. Told of every event; knows no clock.

    `pending` lines of the batch have no record yet, `completed` ones have a sound answer, whoever
    gave it. To the `suspects` among the pending ones an engine was lost before.
    """

    def __init__(self, *, pending: int, completed: int, suspects: Iterable[int] = ()) -> None:
        self._pending = pending
        self._completed = completed
        self._refused_at = dict.fromkeys(suspects, -math.inf)

    def since(self, line: int, sent: float) -> float:
        """Return from when on others may vouch for the engine: a line's last refusal, or `sent`."""
        return self._refused_at.get(line, sent)

    def refused(self, line: int, now: float) -> None:
        """Note a refusal of a line that is pending."""
        self._refused_at[line] = now

    def settled(self, line: int, *, sound: bool) -> None:
        """Note that a line has its record."""
        self._refused_at.pop(line, None)
        self._pending -= 1
        self._completed += sound

    @property
    def nobody_left(self) -> bool:
        """Whether all pending lines were refused, and are few beside those that were not.

        An engine that breaks leaves many that are refused beside few that are done, or some that it
        was not asked yet; a batch with some bad lines ends with these.
        """
        few = max(FEW, self._completed)
        return self._pending <= len(self._refused_at) <= few

    @property
    def all_refused(self) -> bool:
        """Whether there are lines left, and nobody to vouch for them."""
        return self._pending > 0 and self.nobody_left
