"""The table: a line for each number, a column for each subject."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from side_by_side import litellm
from side_by_side.measuring import ENGINE as ENGINE_CPU
from side_by_side.measuring import LOAD, Plan, Results
from side_by_side.processes import resident_mb
from side_by_side.subject import ENDPOINT, GATEWAY, HUB, RELAY, WEB, Subject

LABEL, CELL = 44, 10
BASELINE, RIVAL = "engine", litellm.NAME
TITLES = {
    GATEWAY: "proxy or LiteLLM",
    WEB: "web, or web and hub in one",
    HUB: "hub",
    RELAY: "relay (launcher)",
    ENDPOINT: "endpoint and functions",
}
#: Its value for a subject; None where there is none.
Cell = Callable[[Subject], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line; without `cell` a heading."""

    label: str
    cell: Cell | None = None
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """Makes the lines of one run."""

    plan: Plan
    results: Results
    subjects: Sequence[Subject]

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        names = (subject.name for subject in self.subjects)
        yield f"{'':{LABEL}}" + "".join(f"{name:>{CELL}}" for name in names)
        for row in self._rows():
            if row.cell is None:
                yield row.label
                continue
            cells = [row.cell(subject) for subject in self.subjects]
            if any(cell is not None for cell in cells):
                texts = ("-" if cell is None else f"{cell:.{row.digits}f}" for cell in cells)
                yield f"  {row.label:{LABEL - 2}}" + "".join(f"{text:>{CELL}}" for text in texts)

    def _rows(self) -> Iterator[Row]:
        for connections in self.plan.connections:
            yield from self._plain(connections)
        for streams, tokens in self.plan.streams.items():
            yield from self._streams(streams, tokens)
        yield from self._processes()
        yield from self._counts()

    def _plain(self, connections: int) -> Iterator[Row]:
        if connections == 1:
            yield Row(label="one request at a time (ms)")
        else:
            yield Row(label=f"{connections} requests at once")
            yield Row(label="requests/s", cell=self._of("plain", connections, "rate"), digits=0)
        for name, title in (("p50_ms", "median"), ("p99_ms", "p99")):
            yield Row(label=title, cell=self._of("plain", connections, name), digits=2)
            if connections == 1:
                added = self._added("plain", connections, name)
                yield Row(label=f"{title}, added", cell=added, digits=2)
        if connections > 1:
            yield from self._cpu("plain", connections, "request")
            yield from self._per_cpu_second(connections)

    def _per_cpu_second(self, connections: int) -> Iterator[Row]:
        used = self._of("plain", connections, "cpu_us")

        def each(subject: Subject) -> float | None:
            us = used(subject)
            return 1e6 / us if us else None

        def times(subject: Subject) -> float | None:
            ours, theirs = (
                used(subject),
                self.results.median(RIVAL, ("plain", connections, "cpu_us")),
            )
            return theirs / ours if ours and theirs else None

        yield Row(label="requests per CPU second", cell=each, digits=0)
        yield Row(label=f"times {RIVAL}'s", cell=times)

    def _streams(self, streams: int, tokens: int) -> Iterator[Row]:
        yield Row(label=f"{streams} streams at once, each of {tokens} tokens (ms)")
        for name, title in (("ttft", "first token"), ("lag", "lag of a token")):
            for part in ("p50", "p99"):
                cell = self._of("streams", streams, f"{name}_{part}_ms")
                yield Row(label=f"{title}, {part}", cell=cell, digits=2)
                added = self._added("streams", streams, f"{name}_{part}_ms")
                yield Row(label=f"{title}, {part}, added", cell=added, digits=2)
        yield Row(label="tokens/s", cell=self._of("streams", streams, "rate"), digits=0)
        if streams > 1:
            yield from self._cpu("streams", streams, "token")

    def _cpu(self, kind: str, number: int, unit: str) -> Iterator[Row]:
        for name, title in TITLES.items():
            yield Row(label=f"CPU us/{unit}: {title}", cell=self._of(kind, number, name))
        yield Row(label=f"CPU us/{unit}: in all", cell=self._whole(kind, number))
        for name in (ENGINE_CPU, LOAD):
            yield Row(label=f"CPU us/{unit}: ({name})", cell=self._of(kind, number, name))

    def _processes(self) -> Iterator[Row]:
        yield Row(label="processes")
        for name, title in TITLES.items():

            def memory(subject: Subject, name: str = name) -> float | None:
                pids = subject.processes.get(name)
                return sum(map(resident_mb, pids)) if pids else None

            yield Row(label=f"MB: {title}", cell=memory, digits=0)
        yield Row(label="start (s)", cell=lambda subject: subject.start_s or None)

    def _counts(self) -> Iterator[Row]:
        yield Row(label="tokens, of all rounds")
        tallies = self.results.tallies
        for name, title in (
            ("expected", "sent to the client"),
            ("lost", "lost"),
            ("doubled", "doubled"),
            ("foreign", "of another stream"),
            ("broken", "streams without a good end"),
            ("late", "streams given up after a minute"),
        ):

            def count(subject: Subject, name: str = name) -> float | None:
                found = tallies.get(subject.name)
                return float(getattr(found, name)) if found else None

            yield Row(label=title, cell=count, digits=0)
        wrong = self.results.wrong
        yield Row(
            label="wrong answers in one piece",
            cell=lambda subject: float(wrong.get(subject.name, 0)),
            digits=0,
        )

    def _of(self, kind: str, number: int, name: str) -> Cell:
        return lambda subject: self.results.median(subject.name, (kind, number, name))

    def _whole(self, kind: str, number: int) -> Cell:
        used = self._of(kind, number, "cpu_us")
        return lambda subject: used(subject) if subject.processes else None

    def _added(self, kind: str, number: int, name: str) -> Cell:
        """Return what a subject adds to the engine alone."""
        whole = self._of(kind, number, name)

        def cell(subject: Subject) -> float | None:
            ours = whole(subject)
            without = self.results.median(BASELINE, (kind, number, name))
            if subject.name == BASELINE or ours is None or without is None:
                return None
            return ours - without

        return cell
