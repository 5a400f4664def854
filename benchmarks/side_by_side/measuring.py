"""Puts load on subjects in turn, from a process of its own, and keeps what was measured."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alone.engine import ANSWER

from lab.processes import Command, output_of
from lab.stand_in import clean_environment
from side_by_side.site import BENCHMARKS
from side_by_side.subject import Subject
from side_by_side.tokens import Tally

#: A measurement that takes longer than its load by so much hangs (seconds).
HANG_S = 180.0
ENGINE, LOAD = "engine", "load"
EXPECTED = json.loads(ANSWER)["choices"][0]["message"]["content"]
LATENCIES = ("rate", "p50_ms", "p99_ms")
STREAM_LATENCIES = ("rate", "ttft_p50_ms", "ttft_p99_ms", "lag_p50_ms", "lag_p99_ms")
#: Behind the path of the load's kind: how many at once, and what of it.
Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of each subject.

    `streams` maps how many are under way at once to the tokens of each.
    """

    rounds: int
    seconds: float
    connections: Sequence[int]
    streams: Mapping[int, int]
    real: bool


@dataclass(slots=True)
class Results:
    """What was measured: of each subject the values of all rounds, and the tokens' tally."""

    values: dict[str, dict[Key, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    #: Answers in one piece that were not the engine's.
    wrong: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, subject: str, key: Key, value: float) -> None:
        """Keep a value."""
        self.values[subject][key].append(value)

    def median(self, subject: str, key: Key) -> float | None:
        """Return the median over the rounds; None if it was not measured."""
        found = [value for value in self.values[subject].get(key, ()) if not math.isnan(value)]
        return statistics.median(found) if found else None

    def faults(self, subject: str) -> int:
        """Return how much of a subject's was lost, doubled, foreign, broken off, late or wrong."""
        return self.tallies[subject].faults + self.wrong[subject]


class Bench:
    """Measures subjects before one engine."""

    def __init__(self, plan: Plan, folder: Path, *, engine_pids: Sequence[int]) -> None:
        self._plan = plan
        self._log = folder / "load.log"
        self._engine_pids = engine_pids
        self.results = Results()

    async def measure(self, subjects: Sequence[Subject]) -> None:
        """Take all rounds; the subjects take turns under each load."""
        for number in range(self._plan.rounds):
            for connections in self._plan.connections:
                for subject in subjects:
                    if connections <= subject.most.connections:
                        self._say(number, f"{connections} at once", subject)
                        await self._plain(subject, connections)
            for streams, tokens in self._plan.streams.items():
                for subject in subjects:
                    if streams <= subject.most.streams:
                        self._say(number, f"{streams} streams", subject)
                        await self._streamed(subject, streams, tokens)

    async def _plain(self, subject: Subject, connections: int) -> None:
        options = ["--connections", str(connections)]
        expected = [] if self._plan.real else ["--expect", EXPECTED]
        said = await self._load("alone.load", subject, [*options, *expected])
        self.results.wrong[subject.name] += said["wrong"]
        self._keep(subject, ("plain", connections), said, LATENCIES)

    async def _streamed(self, subject: Subject, streams: int, tokens: int) -> None:
        options = ["--streams", str(streams), "--tokens", str(tokens)]
        real = ["--real"] if self._plan.real else []
        said = await self._load("side_by_side.streams", subject, [*options, *real])
        self.results.tallies[subject.name].add(Tally(**said["tally"]))
        self._keep(subject, ("streams", streams), said, STREAM_LATENCIES)

    def _keep(
        self,
        subject: Subject,
        what: tuple[str, int],
        said: Mapping[str, Any],
        names: Iterable[str],
    ) -> None:
        """Keep numbers, and what each process used for one request or token (microseconds)."""
        kind, number = what
        for name in names:
            self.results.add(subject.name, (kind, number, name), said[name])
        each = said["cpu_each_s"]
        own = len(subject.pids)
        used = subject.by_name(each[:own]) | {
            ENGINE: sum(each[own:]),
            LOAD: said["own_cpu_s"],
        }
        for name, seconds in used.items():
            value = per_unit(seconds, said["count"])
            self.results.add(subject.name, (kind, number, name), value)
        whole = per_unit(sum(each[:own]), said["count"])
        self.results.add(subject.name, (kind, number, "cpu_us"), whole)

    async def _load(self, module: str, subject: Subject, options: Sequence[str]) -> dict[str, Any]:
        pids = [str(pid) for pid in (*subject.pids, *self._engine_pids)]
        command = Command(
            name=f"the load on {subject.name}",
            arguments=[
                *(sys.executable, "-m", module, str(subject.port), "--path", subject.path),
                *("--token", subject.token, "--seconds", str(self._plan.seconds)),
                *("--pid", *pids, *options),
            ],
            log=self._log,
            environment=clean_environment() | {"PYTHONPATH": str(BENCHMARKS)},
        )
        said: dict[str, Any] = json.loads(
            await output_of(command, within_s=self._plan.seconds + HANG_S)
        )
        return said

    def _say(self, number: int, what: str, subject: Subject) -> None:
        print(f"round {number + 1}, {what}: {subject.name}", file=sys.stderr, flush=True)


def per_unit(seconds: float, count: int) -> float:
    """Return microseconds for each; not a number if there was none."""
    return 1e6 * seconds / count if count else math.nan
