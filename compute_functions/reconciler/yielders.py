"""Who may yield its place to a wanted model, and in which order: looked up once for all claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View
from compute_functions.reconciler.wants import Want


@dataclass(frozen=True, slots=True, kw_only=True)
class Yielders:
    """Instances that may yield, the least recently used first.

    `idle` yield to anybody, `overruled` to hot models: the idle ones, and jobs in the queue.
    `queued` are those of these jobs that can stand before another's.
    """

    idle: tuple[Judged, ...]
    overruled: tuple[Judged, ...]
    queued: tuple[Judged, ...]

    @classmethod
    def found(cls, view: View, wants: Sequence[Want]) -> Self:
        """Return those among all models' instances."""
        before = view.now - view.policy.yield_s
        return cls(
            idle=_in_order(wants, before=before, overrules=False),
            overruled=_in_order(wants, before=before, overrules=True),
            queued=tuple(
                one
                for want in wants
                if not want.group.is_hot
                for one in want.group.live
                if one.standing is Standing.WAITING and one.gpus > 0
            ),
        )

    def for_claim(self, want: Want, chosen: frozenset[str]) -> Iterator[Judged]:
        """Yield who may still yield to a model, beside those that were chosen before."""
        those = self.overruled if want.group.is_hot else self.idle
        key = want.group.key
        return (one for one in those if one.key != key and one.member.instance not in chosen)

    def queued_before(self, waiting: Judged, chosen: frozenset[str]) -> list[Judged]:
        """Return the jobs that stand before a hot model's in the queue."""
        return [
            one
            for one in self.queued
            if one.member.submitted_at <= waiting.member.submitted_at
            and one.member.instance not in chosen
        ]


def _in_order(wants: Iterable[Want], *, before: float, overrules: bool) -> tuple[Judged, ...]:
    found = [
        (want.used_at, one.standing is Standing.READY, -one.member.submitted_at, one)
        for want in wants
        for one in _spare(want, before=before, overrules=overrules)
    ]
    found.sort(key=lambda entry: (*entry[:3], entry[3].member.instance))
    return tuple(entry[3] for entry in found)


def _spare(want: Want, *, before: float, overrules: bool) -> list[Judged]:
    """Return the instances that a model can do without: none that `min` pins, none in use."""
    live = want.group.live
    idle = not want.asked and want.used_at <= before
    overruled = overrules and not want.group.is_hot
    free = [
        one
        for one in live
        if (idle and _is_idle(one)) or (overruled and one.standing is Standing.WAITING)
    ]
    return sorted(free, key=lambda one: one.serving)[: max(0, len(live) - want.group.desired.min)]


def _is_idle(one: Judged) -> bool:
    return one.standing is not Standing.DOUBTFUL and one.in_flight == 0
