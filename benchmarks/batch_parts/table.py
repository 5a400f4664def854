"""The table: clients side by side, and each target with what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from measured import Line

from batch_parts.interactive import Beside, percentile
from batch_parts.resuming import Resumed
from batch_parts.runner import Memory
from batch_parts.turn import Turn

BARE, VLLM, RUNNER, WHOLE = "bare client", "vllm run-batch", "python -m batch run", "Hotnode"
#: Of the best bare client, and of vLLM's own.
OF_BARE, OF_VLLM = 0.98, 1.0
MEMORY_MB, VALIDATED, AGAIN_S, GROWTH = 150.0, 100_000.0, 2.0, 1.25

#: Turns of each client that took turns.
Turns = Mapping[str, Sequence[Turn]]


def about_clients(engine: str, turns: Turns) -> list[Line]:
    """Return what is said of clients before the same engine; medians of their rounds."""
    speeds = {
        name: statistics.median(turn.tokens_per_s for turn in of) for name, of in turns.items()
    }
    lines = [
        Line(label=f"{engine}: {name}, tokens/s", value=speed, note=_how(turns[name]))
        for name, speed in speeds.items()
    ]
    for name in (RUNNER, WHOLE):
        for other, least in ((BARE, OF_BARE), (VLLM, OF_VLLM)):
            if name in speeds and other in speeds:
                share, note = _pairwise(turns[name], turns[other])
                label = f"{engine}: {name}, times the {other}"
                lines.append(Line(label=label, value=share, least=least, digits=3, note=note))
    return [*lines, *_about_processors(engine, turns), *_about_starts(engine, turns)]


def _about_processors(engine: str, turns: Turns) -> list[Line]:
    """Return what a line cost engine and client together."""
    costs = {
        name: [1000 * turn.cpu_s / turn.lines for turn in of if turn.cpu_s is not None]
        for name, of in turns.items()
    }
    return [
        Line(
            label=f"{engine}: {name}, processor time of a line (ms)",
            value=statistics.median(cost),
            digits=1,
        )
        for name, cost in costs.items()
        if cost
    ]


def _about_starts(engine: str, turns: Turns) -> list[Line]:
    """Return how long the commands took that did the same: one loads the engine each time."""
    ours, theirs = (
        [turn.whole_s for turn in turns.get(name, ()) if turn.whole_s is not None]
        for name in (RUNNER, VLLM)
    )
    if not (ours and theirs):
        return []
    label = f"{engine}: {RUNNER}, from the command to its end, times as soon as {VLLM}"
    times = statistics.median(theirs) / statistics.median(ours)
    return [Line(label=label, value=times, digits=2)]


def about_memory(engine: str, memory: Memory) -> list[Line]:
    """Return what is said of a runner's memory over time."""
    label = f"{engine}: memory of the runner"
    return [
        Line(label=f"{label} after a quarter (MB)", value=memory.at(0.25), digits=1),
        Line(label=f"{label} near its end (MB)", value=memory.at(0.95), digits=1),
        Line(label=f"{label}, at most (MB)", value=memory.most, most=MEMORY_MB, digits=1),
    ]


def about_validation(speed: float) -> list[Line]:
    """Return what is said of checking."""
    return [Line(label="validated, lines/s", value=speed, least=VALIDATED)]


def about_resuming(found: Resumed) -> list[Line]:
    """Return what is said of a runner that was killed."""
    label = "kill -9 of the runner, another begun: first request after (s)"
    return [
        Line(label="lines recorded when the runner was killed", value=found.recorded),
        Line(label=label, value=found.after_s, most=AGAIN_S, digits=2),
        Line(label="processor time until then (s)", value=found.cpu_s, digits=2),
        Line(
            label="lines asked twice: under way, or not yet on the disk",
            value=found.again,
            most=found.allowed,
        ),
        Line(label="lines without a record", value=found.missing, most=0),
        Line(label="lines with two", value=found.doubled, most=0),
        Line(
            label="memory of the runner that resumed, at most (MB)",
            value=found.memory.most,
            most=MEMORY_MB,
            digits=1,
        ),
    ]


def about_callers(found: Beside) -> list[Line]:
    """Return what is said of interactive requests."""
    lines = [Line(label="callers, each way", value=len(found.alone))]
    for name, percent, most in (("median", 50, None), ("p90", 90, None), ("p99", 99, GROWTH)):
        alone, beside = percentile(found.alone, percent), percentile(found.beside, percent)
        label = f"first token, {name}"
        lines += [
            Line(label=f"{label}, no batch (ms)", value=1000 * alone, digits=1),
            Line(label=f"{label}, beside a batch (ms)", value=1000 * beside, digits=1),
            Line(label=f"{label}, times that without", value=beside / alone, most=most, digits=2),
        ]
    return [
        *lines,
        Line(label="lines of the batch a minute meanwhile", value=found.lines_per_min, digits=1),
    ]


def _pairwise(ours: Sequence[Turn], theirs: Sequence[Turn]) -> tuple[float, str]:
    """Return the geometric mean of the rounds' ratios, and its standard error in words.

    The machine differs between rounds, and less so within one.
    """
    logs = [
        math.log(own.tokens_per_s / other.tokens_per_s)
        for own, other in zip(ours, theirs, strict=True)
    ]
    mean = math.exp(statistics.fmean(logs))
    if len(logs) == 1:
        return mean, ""
    error = mean * statistics.stdev(logs) / math.sqrt(len(logs))
    return mean, f"  ± {error:.3f} in {len(logs)} rounds"


def _how(turns: Sequence[Turn]) -> str:
    last = turns[-1]
    whole = "" if last.whole_s is None else f", {last.whole_s:.1f} s with its start"
    how = f", {last.what}" if last.what else ""
    return f"  {last.lines:,} lines in {last.seconds:.1f} s{whole}{how}"
