"""Where the record of each line stands, and what it counts for: fifteen bytes a line, no bodies."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from batch.journal.record import Counted
from batch.use import Use

_PENDING, _COMPLETED, _FAILED = 0, 1, 2


class Place(NamedTuple):
    """A record's segment, and its bytes in there."""

    epoch: int
    offset: int
    length: int


class Recorded:
    """What is recorded of the lines 1 to `total`. A line's first record holds."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.completed = 0
        self.failed = 0
        self._tokens = [0, 0, 0, 0]
        #: Tries in vain, of the few lines that had any.
        self.tries: dict[int, int] = {}
        #: How often a pending line was under way when its engine was lost, if it ever was.
        self.losses: dict[int, int] = {}
        #: Whether the last runner ended without a word: nobody knows all that it had asked.
        self.died = False
        self._states = bytearray(total)
        self._epochs: list[int] = []
        self._segments = array("H", bytes(2 * total))
        self._offsets = array("Q", bytes(8 * total))
        self._lengths = array("I", bytes(4 * total))

    @property
    def count(self) -> int:
        """How many lines are recorded."""
        return self.completed + self.failed

    @property
    def use(self) -> Use:
        """What the recorded lines cost."""
        return Use.of(self._tokens)

    def has(self, line: int) -> bool:
        """Whether a line is recorded."""
        return self._states[line - 1] != _PENDING

    def place(self, line: int) -> Place:
        """Return where the record of a recorded line stands."""
        place = line - 1
        return Place(
            self._epochs[self._segments[place]], self._offsets[place], self._lengths[place]
        )

    def add(self, counted: Counted, place: Place) -> bool:
        """Take a record, unless the line has one; says whether it did."""
        if not 0 < counted.line <= self.total or self.has(counted.line):
            return False
        at = counted.line - 1
        self._segments[at] = self._segment(place.epoch)
        self._offsets[at] = place.offset
        self._lengths[at] = place.length
        self._states[at] = _COMPLETED if counted.completed else _FAILED
        self.completed += counted.completed
        self.failed += not counted.completed
        for kind, tokens in enumerate(counted.tokens):
            self._tokens[kind] += tokens
        return True

    def forget_losses(self) -> None:
        """Forget the losses of lines that are not pending, or that the batch does not have."""
        for line, losses in tuple(self.losses.items()):
            if not losses or not 0 < line <= self.total or self.has(line):
                del self.losses[line]

    def _segment(self, epoch: int) -> int:
        if not self._epochs or self._epochs[-1] != epoch:
            self._epochs.append(epoch)
        return len(self._epochs) - 1
