"""The table: who died and how soon the batch went on, and that nothing came of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from measured import Line

from batch_parts.deaths.ordeal import Death
from batch_parts.deaths.resumes import Resume
from batch_parts.deaths.stand import INSTANCES
from batch_parts.deaths.whole import Survived

RESUMED_S, TAKEN_OVER = 2.0, 5


def about_resumes(found: Sequence[Resume]) -> list[Line]:
    """Return what is said of engines that are ready."""
    label = "from the engine's having loaded to its first line"
    return [
        Line(label="engines that died under a batch, or began one", value=len(found)),
        Line(
            label=f"{label}, median (s)",
            value=statistics.median(one.seconds for one in found),
            digits=2,
        ),
        Line(
            label=f"{label}, at most (s)",
            value=max(one.seconds for one in found),
            most=RESUMED_S,
            digits=2,
        ),
        Line(
            label="of that until the site knows that it is ready, median (s)",
            value=statistics.median(one.of_site_s for one in found),
            digits=2,
        ),
    ]


def about_survival(found: Survived) -> list[Line]:
    """Return what is said of a batch and the deaths around it."""
    said, slept = found.verdict, found.slept
    wrong = {
        "lines without a record": said.missing,
        "lines with two": said.doubled,
        "lines that failed": said.failed,
        "answers of another line": said.strange,
        "results that are not what the journal holds": said.changed,
        "lines asked again though the journal held them": said.again,
        "counts, usage and status told otherwise than the files": len(said.miscounted),
        "runners left": found.runners,
        "bytes written by the runner that woke up": slept.wrote,
    }
    return [
        Line(label="kill -9 and power cuts during one batch", value=len(found.deaths)),
        *_about_deaths(found.deaths),
        Line(label="a stopped node: the batch went on elsewhere after (s)", value=slept.again_s),
        Line(
            label="exit status of its runner when it woke up",
            value=slept.status,
            least=TAKEN_OVER,
            most=TAKEN_OVER,
        ),
        Line(label="lines", value=said.lines),
        Line(label="runners that worked on them", value=said.runners),
        *(Line(label=label, value=count, most=0) for label, count in wrong.items()),
        Line(label="lines asked by it: on their way when it was stopped", value=slept.asked),
        Line(label="lines asked twice: under way, or not yet on the disk", value=said.repeated),
        Line(label="jobs of the model", value=found.jobs, least=INSTANCES, most=INSTANCES),
    ]


def _about_deaths(deaths: Sequence[Death]) -> list[Line]:
    victims: dict[str, list[Death]] = {}
    for one in deaths:
        victims.setdefault(one.victim, []).append(one)
    return [
        Line(
            label=f"{name}: the batch went on after, at most (s)",
            value=max(one.again_s for one in found),
            digits=1,
            note=_times(found),
        )
        for name, found in sorted(victims.items())
    ]


def _times(deaths: Sequence[Death]) -> str:
    alone = [one.again_s for one in deaths if one.without_agent]
    told = "  killed once" if len(deaths) == 1 else f"  killed {len(deaths)} times"
    if not alone:
        return told
    return f"{told}, of these {len(alone)} while the site had no agent (at most {max(alone):.1f} s)"
