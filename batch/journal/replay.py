"""The journal read from its start: what of a batch is recorded, whoever recorded it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batch.journal import segment
from batch.journal.record import Asked, Left, Record, Seal, Tries, counted, unframe, unpack
from batch.journal.recorded import Place, Recorded

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What was found. `broken` counts records that do not hold, torn last ones not among them."""

    recorded: Recorded
    broken: int


def replay(folder: Path, total: int, *, ends: Mapping[int, int]) -> Replayed:
    """Read every segment, the lowest epoch first, each to its sealed end if it has one."""
    recorded = Recorded(total)
    broken = 0
    for epoch in segment.epochs_in(folder):
        broken += _replay_segment(folder, epoch, recorded, end=ends.get(epoch))
    recorded.forget_losses()
    return Replayed(recorded=recorded, broken=broken)


def seals(folder: Path) -> Mapping[int, int]:
    """Return how many bytes of the sealed segments hold; of others all do.

    Each runner begins with a seal over all earlier segments, which repeats those that stand. So
    whatever a runner that was stopped, and goes on after it was taken over, still writes, counts
    for nobody, and the last seal says it all.
    """
    for epoch in reversed(segment.epochs_in(folder)):
        seal = _seal_of(folder, epoch)
        if seal is not None:
            return {
                one: seal.lengths.get(one, 0) for one in segment.epochs_in(folder) if one < epoch
            }
    return {}


def new_seal(folder: Path, epoch: int) -> Seal:
    """Return the seal with which the runner of `epoch` begins."""
    held = seals(folder)
    earlier = (one for one in segment.epochs_in(folder) if one < epoch)
    return Seal(
        lengths={one: held.get(one, segment.path_of(folder, one).stat().st_size) for one in earlier}
    )


def _seal_of(folder: Path, epoch: int) -> Seal | None:
    for _, content in segment.read(folder, epoch):
        payload = unframe(content)
        record = None if payload is None else unpack(payload, with_body=False)
        return record if isinstance(record, Seal) else None
    return None


def _replay_segment(folder: Path, epoch: int, recorded: Recorded, *, end: int | None) -> int:
    """Take a segment's records; return how many of them do not hold."""
    broken = torn = 0
    end_of = _End(recorded, left=segment.has_left(folder, epoch))
    for offset, content in segment.read(folder, epoch, end=end):
        # One that does not hold is the torn end, unless another follows.
        broken += torn
        payload = unframe(content)
        torn = payload is None
        if payload is None:
            continue
        answer = counted(payload)
        if answer is not None:
            recorded.add(answer, Place(epoch, offset, len(content)))
            if end_of.asked:
                end_of.asked.discard(answer.line)
        else:
            end_of.take(unpack(payload, with_body=False))
    end_of.reached()
    if broken or torn:
        _log.warning("journal_broken epoch=%d records=%d torn_end=%s", epoch, broken, bool(torn))
    return broken


class _End:
    """How a segment's runner ended, from all that it wrote but its answers.

    What it had asked was lost with it, if it ended without a word.
    """

    def __init__(self, recorded: Recorded, *, left: bool) -> None:
        self._recorded = recorded
        #: The lines of which nothing was told yet.
        self.asked: set[int] = set()
        self._left = False
        #: Whether it said so by a mark beside its segment, which took no more records.
        self._is_marked = left

    def take(self, record: Record) -> None:
        """Take a record that is no answer."""
        match record:
            case Tries(line=line, tries=tries, losses=losses):
                self.asked.discard(line)
                self._recorded.tries[line] = tries
                self._recorded.losses[line] = losses
            case Asked(line=line):
                self.asked.add(line)
            case Left():
                self._left = True
            case _:
                pass  # The seals are read before.

    def reached(self) -> None:
        """Note that the segment has no more."""
        recorded = self._recorded
        if self._is_marked:
            # It wrote down less than it knew, maybe nothing: how those before it ended still holds.
            return
        recorded.died = not self._left
        for line in () if self._left else self.asked:
            recorded.losses[line] = recorded.losses.get(line, 0) + 1
