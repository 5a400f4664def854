"""The table: what was measured, the target where there is one, and whether it was met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from measured import Line

from lifecycle_parts.asked import End, together
from lifecycle_parts.measures.calls import Calls
from lifecycle_parts.measures.cold import ColdStart
from lifecycle_parts.measures.kills import Killed
from lifecycle_parts.measures.power import PowerCut
from lifecycle_parts.measures.rollovers import Rollovers

ORDERED_S, FIRST_S, OLDEST_S, AGAIN_S, CALLS = 1.0, 0.5, 5.0, 20.0, 1.0
#: How streams on a node or process that dies may end.
ALLOWED = (End.WHOLE, End.HONEST)


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
    return [line for one in found for line in _about_kill(one)]


def _about_kill(one: Killed) -> list[Line]:
    outcome, victim = one.outcome, one.victim
    return [
        Line(label=f"{victim}: recovered after (s)", value=one.recovered_s, digits=1),
        Line(
            label=f"{victim}: longest time in which nobody was answered (s)",
            value=outcome.silence_s,
            digits=1,
        ),
        Line(label=f"{victim}: jobs of the model afterwards", value=one.jobs, most=1, least=1),
        Line(label=f"{victim}: jobs submitted without need", value=one.needless, most=0),
        Line(label=f"{victim}: requests that hung", value=one.hung, most=0),
        Line(
            label=f"{victim}: requests that ended as none may",
            value=one.wronged,
            most=0,
            note=f"  of {outcome.told()}",
        ),
    ]


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
