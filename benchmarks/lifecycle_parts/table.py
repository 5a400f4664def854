"""The table: what was measured, the target where there is one, and whether it was met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lifecycle_parts.asked import End, together
from lifecycle_parts.measures.calls import Calls
from lifecycle_parts.measures.cold import ColdStart
from lifecycle_parts.measures.kills import Killed
from lifecycle_parts.measures.power import PowerCut
from lifecycle_parts.measures.rollovers import Rollovers

LABEL, CELL = 58, 12
ORDERED_S, FIRST_S, OLDEST_S, AGAIN_S, CALLS = 1.0, 0.5, 5.0, 20.0, 1.0
#: How streams on a node or process that dies may end.
ALLOWED = (End.WHOLE, End.HONEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line: a value, and the most that it may be; None where there is no target."""

    label: str
    value: float
    most: float | None = None
    least: float | None = None
    digits: int = 0
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether there is a target, and it was not met."""
        above = self.most is not None and self.value > self.most
        return above or (self.least is not None and self.value < self.least)

    def text(self) -> str:
        """Return the line as it is printed."""
        target = "" if self.most is None else f"<= {self.most:g}"
        target = target if self.least is None else f">= {self.least:g}"
        verdict = "MISSED" if self.missed else ""
        number = f"{self.value:.{self.digits}f}"
        return f"  {self.label:{LABEL}}{number:>{CELL}}{target:>{CELL}}  {verdict}{self.note}"


def about_rollovers(found: Rollovers) -> list[Line]:
    """Return what is said of rollovers."""
    outcome, seconds = found.outcome, found.seconds
    return [
        Line(label="rollovers", value=len(seconds)),
        Line(label="requests", value=len(outcome.asked)),
        Line(
            label="failed requests",
            value=outcome.failed,
            most=0,
            note=_faults(outcome.failed, outcome.told()),
        ),
        Line(label="cut streams", value=outcome.count(End.CUT, End.HONEST, streams=True), most=0),
        Line(label="seconds without a ready instance", value=found.gap_s, most=0, digits=1),
        Line(label="streams that outlasted a take-over, whole", value=found.outlasted, least=1),
        Line(label="slowest answer in one piece (s)", value=outcome.longest_s, digits=2),
        Line(
            label="from the new walltime to the old job's end, median (s)",
            value=statistics.median(seconds),
            digits=1,
        ),
    ]


def about_power(found: Sequence[PowerCut]) -> list[Line]:
    """Return what is said of nodes that lost their power."""
    outcome = together(one.outcome for one in found)
    lied = len(outcome.asked) - outcome.count(*ALLOWED)
    return [
        Line(label="power cuts", value=len(found)),
        Line(label="requests", value=len(outcome.asked)),
        Line(
            label="asked right after the cut, and whole: from another site",
            value=sum(one.after.end is End.WHOLE for one in found),
            least=len(found),
        ),
        Line(
            label="under way at the cut, and whole all the same",
            value=sum(one.moved for one in found),
        ),
        Line(
            label="streams on the node that ended in an honest error",
            value=sum(one.honest for one in found),
        ),
        Line(
            label="answers lost otherwise", value=lied, most=0, note=_faults(lied, outcome.told())
        ),
        Line(
            label="as desired again after, less loading, at most (s)",
            value=max(one.again_s for one in found),
            most=AGAIN_S,
            digits=1,
        ),
    ]


def about_kills(found: Iterable[Killed]) -> list[Line]:
    """Return what is said of processes that were killed."""
    lines = []
    for one in found:
        lines += [
            Line(label=f"{one.victim}: recovered after (s)", value=one.recovered_s, digits=1),
            Line(
                label=f"{one.victim}: jobs of the model afterwards", value=one.jobs, most=1, least=1
            ),
            Line(
                label=f"{one.victim}: requests that hung",
                value=one.hung,
                most=0,
                note=f"  of {one.outcome.told()}",
            ),
        ]
    return lines


def about_cold(found: Sequence[ColdStart]) -> list[Line]:
    """Return what is said of cold starts."""
    failed = sum(one.asked.end is not End.WHOLE for one in found)
    return [
        Line(label="cold starts", value=len(found)),
        Line(label="that did not answer", value=failed, most=0),
        Line(
            label="from the request to Slurm's having the job, at most (s)",
            value=max(one.ordered_s for one in found),
            most=ORDERED_S,
            digits=2,
        ),
        Line(
            label="from the engine's being ready to the first word, at most (s)",
            value=max(one.first_s for one in found),
            most=FIRST_S,
            digits=2,
        ),
        Line(
            label="age of the state that was shown, at most (s)",
            value=max(one.oldest_s for one in found),
            most=OLDEST_S,
            digits=1,
        ),
        Line(
            label="from the request to the first word, median (s)",
            value=statistics.median(one.whole_s for one in found),
            digits=1,
        ),
    ]


def about_calls(found: Calls) -> list[Line]:
    """Return what is said of Globus."""
    label = f"requests to Globus Compute per second, in {found.seconds:.0f} s"
    return [Line(label=label, value=found.per_second, most=CALLS, digits=2)]


def _faults(number: float, told: str) -> str:
    return f"  {told}" if number else ""
