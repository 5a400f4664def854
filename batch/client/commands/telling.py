"""What a person, or a program, is told: results on standard output, everything else beside."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

from batch.client.watching import Seen
from batch.commands import output
from batch.commands.often import Often
from batch.commands.printable import printable
from batch.commands.screen import duration
from batch.commands.standing_line import StandingLine, joined

_BAR = 24
_MEGA = 1_000_000


class Teller(Protocol):
    """Tells how it goes, and what came of it."""

    def progress(self, line: str, wire: Mapping[str, object], reason: str = "") -> None:
        """Tell what will soon be out of date, and why it is so."""

    def say(self, words: str) -> None:
        """Tell something that happened."""

    def result(self, text: str, wire: Mapping[str, object]) -> None:
        """Tell what was asked for."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def teller(*, as_json: bool, quiet: bool = False) -> Teller:
    """Return who tells, as the command line and the terminal have it."""
    if as_json:
        return JsonLines(sys.stdout)
    return Words(sys.stdout, sys.stderr, quiet=quiet)


class Words:
    """For people: a line that stays in its place on a terminal, else one now and then."""

    def __init__(self, out: TextIO, err: TextIO, *, quiet: bool = False) -> None:
        self._out = out
        self._err = err
        self._quiet = quiet
        self._line = StandingLine(err)
        self._often = Often()

    def progress(self, line: str, wire: Mapping[str, object], reason: str = "") -> None:
        """Show it in as many columns as there are; where nobody looks, the whole."""
        if self._quiet:
            return
        line, reason = printable(line), printable(reason)
        if self._err.isatty():
            self._line.show(line, reason)
        elif self._often.allows((wire.get("stage"), reason)):
            output.write(self._err, f"{joined(line, reason)}\n")

    def say(self, words: str) -> None:
        """Write a line that stays."""
        self.close()
        output.write(self._err, "".join(f"{printable(line)}\n" for line in words.split("\n")))

    def result(self, text: str, wire: Mapping[str, object]) -> None:
        """Write it to standard output."""
        self.close()
        output.write(self._out, text)

    def close(self) -> None:
        """Take the line away that stays in its place."""
        self._line.clear()


class JsonLines:
    """For programs: one JSON object a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._often = Often()

    def progress(self, line: str, wire: Mapping[str, object], reason: str = "") -> None:
        """Write it, unless the last one is fresh."""
        if self._often.allows(wire.get("stage")):
            self._write({"progress": wire})

    def say(self, words: str) -> None:
        """Write a message."""
        self._write({"message": words})

    def result(self, text: str, wire: Mapping[str, object]) -> None:
        """Write what was asked for."""
        self._write(wire)

    def close(self) -> None:
        """There is nothing to leave."""

    def _write(self, values: Mapping[str, object]) -> None:
        output.write(self._out, json.dumps(values) + "\n")


def transfer(teller: Teller, stage: str, name: str) -> Callable[[int, int], None]:
    """Return what tells how much of a file was sent or fetched."""

    def tell(done: int, size: int) -> None:
        share = done / size if size else 1.0
        line = f"{_bar(share)}  {stage} {name}: {done / _MEGA:,.1f} of {size / _MEGA:,.1f} MB"
        teller.progress(line, {"stage": stage, "file": name, "bytes": done, "of": size})

    return tell


def look(teller: Teller) -> Callable[[Seen], None]:
    """Return what tells how a batch is."""

    def tell(seen: Seen) -> None:
        wire = {
            "stage": seen.batch.status,
            "rate": seen.rate,
            "left_s": seen.left_s,
            "batch": dict(seen.batch.wire),
        }
        teller.progress(as_line(seen), wire, seen.batch.reason)

    return tell


def as_line(seen: Seen) -> str:
    """Return how a batch is as one line, without the reason."""
    batch = seen.batch
    share = batch.done / batch.total if batch.total else 0.0
    parts = [_bar(share), batch.status]
    if batch.total:
        parts.append(f"{batch.done:,} of {batch.total:,}")
    if batch.failed:
        parts.append(f"{batch.failed:,} failed")
    if seen.rate and not batch.over:
        parts.append(f"{seen.rate:,.1f} lines/s")
    if seen.left_s is not None and not (batch.reason or batch.over) and batch.done:
        parts.append(f"{duration(seen.left_s)} left")
    return "  ".join(parts)


def _bar(share: float) -> str:
    full = int(share * _BAR)
    return f"[{'#' * full}{'.' * (_BAR - full)}] {share:6.1%}"
