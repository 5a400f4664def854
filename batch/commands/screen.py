"""Progress for whoever looks: a line that stays in its place, plain lines, or JSON lines."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TextIO

from batch.commands import failures, output, program
from batch.commands.failures import Failures
from batch.commands.often import Often
from batch.commands.printable import printable
from batch.commands.standing_line import StandingLine, joined
from batch.errors import DiskFailed
from batch.folder import Folder
from batch.outcome import Outcome
from batch.progress import SILENT_S, Progress, Stage

_BAR = 24
#: In place of an input of which nobody knows where it is.
_SOME_INPUT = "IN"


class Screen(Protocol):
    """Shows what a runner tells."""

    def show(self, progress: Progress) -> None:
        """Show how far it is."""

    def say(self, words: str) -> None:
        """Say something that stays."""

    def end(self, outcome: Outcome, folder: Folder) -> None:
        """Show how it ended."""

    def leave(self) -> None:
        """Let what is shown stay."""


def of(stream: TextIO) -> Screen:
    """Return the screen of a runner: for a person at a terminal, or for a program and its log."""
    return Terminal(stream) if stream.isatty() else JsonLines(stream)


def for_people(stream: TextIO) -> Screen:
    """Return the screen for people, who may not look at a terminal."""
    return Terminal(stream) if stream.isatty() else Lines(stream)


class Terminal:
    """One line that is written again and again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = StandingLine(stream)

    def show(self, progress: Progress) -> None:
        """Show how far it is, in as many columns as there are."""
        self._line.show(as_line(progress), printable(progress.reason))

    def say(self, words: str) -> None:
        """Say something that stays."""
        self._line.say(_printable_lines(words))

    def end(self, outcome: Outcome, folder: Folder) -> None:
        """Show how it ended."""
        self._line.clear()
        output.write(self._stream, as_text(outcome, folder))

    def leave(self) -> None:
        """Let the line stay."""
        self._line.leave()


class Lines:
    """Plain lines, whole, one now and then: for pipes and files that people read."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._often = Often()

    def show(self, progress: Progress) -> None:
        """Write how far it is, unless the last line is fresh."""
        if self._often.allows((progress.stage, progress.reason)):
            line = joined(as_line(progress), printable(progress.reason))
            output.write(self._stream, f"{line}\n")

    def say(self, words: str) -> None:
        """Say something."""
        output.write(self._stream, f"{_printable_lines(words)}\n")

    def end(self, outcome: Outcome, folder: Folder) -> None:
        """Write how it ended."""
        output.write(self._stream, as_text(outcome, folder))

    def leave(self) -> None:
        """Every line stays."""


class JsonLines:
    """One JSON object a line, for programs and for log files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._often = Often()

    def show(self, progress: Progress) -> None:
        """Write the progress, unless the last one is fresh."""
        if self._often.allows(progress.stage):
            self._write({"progress": progress.to_wire()})

    def say(self, words: str) -> None:
        """Write a message."""
        self._write({"message": words})

    def end(self, outcome: Outcome, folder: Folder) -> None:
        """Write the outcome, and why lines failed."""
        values: dict[str, object] = {"outcome": outcome.to_wire()}
        if outcome.error_file is not None:
            found, _ = _failures(folder)
            told = found and found.to_wire()
            values["failures"] = {"file": str(folder.errors), **(told or {})}
        self._write(values)

    def leave(self) -> None:
        """Every line stays."""

    def _write(self, values: object) -> None:
        output.write(self._stream, json.dumps(values) + "\n")


class LastingScreen:
    """Another screen, whose reader may leave, or whose disk may be full: that ends no run."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen = screen
        self._stream = stream

    def show(self, progress: Progress) -> None:
        """Show how far it is."""
        self._try(lambda: self._screen.show(progress))

    def say(self, words: str) -> None:
        """Say something that stays."""
        self._try(lambda: self._screen.say(words))

    def end(self, outcome: Outcome, folder: Folder) -> None:
        """Show how it ended."""
        self._try(lambda: self._screen.end(outcome, folder))

    def leave(self) -> None:
        """Let what is shown stay."""
        self._try(self._screen.leave)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (output.Unread, DiskFailed):
            # Who wants to know how far it is finds it in `progress.json`.
            output.silence(self._stream)


def as_line(progress: Progress) -> str:
    """Return the progress as one line, without the reason."""
    # One that was at that when it ended, as without an engine, has left its counts.
    is_left = progress.total > 0 and time.time() - progress.at > SILENT_S
    if progress.stage is Stage.VALIDATING and not is_left:
        return "reading the input …"
    return "  ".join(_parts(progress))


def _parts(progress: Progress) -> Iterator[str]:
    yield f"{_bar(progress)}  {progress.recorded:,} of {progress.total:,}"
    if progress.failed:
        yield f"{progress.failed:,} failed"
    if progress.stage is Stage.FINALIZING:
        yield "writing the results …"
        return
    if progress.stage is Stage.WAITING:
        yield "waiting"
        return
    if progress.rate:
        yield f"{progress.rate:,.1f} lines/s"
    if progress.metrics is not None and progress.metrics.total_tokens:
        yield f"{progress.metrics.throughput_tokens_per_second:,.0f} tokens/s"
    yield f"{progress.under_way} under way"
    if progress.stage is Stage.DRAINING:
        yield "ending"
    elif progress.left_s is not None:
        yield f"{duration(progress.left_s)} left"


def as_text(outcome: Outcome, folder: Folder) -> str:
    """Return the outcome as a few lines."""
    lines = [f"{outcome.status.value}: {_counts(outcome)}", *_mistakes(outcome)]
    if outcome.metrics is not None and outcome.metrics.total_tokens:
        metrics = outcome.metrics
        rate = f"{metrics.throughput_tokens_per_second:,.1f} tokens/s"
        lines.append(f"  tokens  {metrics.total_tokens:,}, {rate}")
    if outcome.output is not None:
        lines.append(f"  output  {folder.output}")
    if outcome.error_file is not None:
        lines.append(f"  errors  {folder.errors}")
        lines += _why(folder, outcome.error_file.lines)
        lines.append(f"  again   {_again(folder)}")
    return "\n".join(lines) + "\n"


def _mistakes(outcome: Outcome) -> Iterator[str]:
    """Yield why the batch ended so, and the mistakes of its input."""
    if outcome.reason:
        yield f"  {printable(outcome.reason)}"
    for error in outcome.errors:
        place = "" if error.line is None else f"line {error.line:,}: "
        yield f"  {place}{error.code}: {printable(error.message)}"
    if outcome.error_count > len(outcome.errors):
        yield f"  and {outcome.error_count - len(outcome.errors):,} more"


def duration(seconds: float) -> str:
    """Return a length of time as people write it."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _why(folder: Folder, count: int) -> list[str]:
    """Return in lines why lines failed."""
    found, trouble = _failures(folder)
    return [f"    {trouble}"] if found is None else list(failures.as_lines(found, of=count))


def _failures(folder: Folder) -> tuple[Failures | None, str]:
    """Return why lines failed, or why nobody can say so."""
    try:
        return failures.of_file(folder.errors), ""
    except OSError as error:
        # It may have been moved: the batch is over.
        return None, f"it cannot be read: {error.strerror}"


def _again(folder: Folder) -> str:
    """Return the command that has lines without a good answer asked again."""
    source = folder.path.with_name(folder.path.name.removesuffix(".batch"))
    if source != folder.path and source.is_file():
        return f"{program.command('remaining', str(source))} > {_rest_of(source)}"
    inside = str(folder.input) if folder.input.is_file() else _SOME_INPUT
    again = program.command("remaining", inside, "--folder", str(folder.path))
    return f"{again} > {_rest_of(folder.input)}"


def _rest_of(source: Path) -> str:
    """Return a name that is never the input's own: the shell would empty that first."""
    return shlex.quote(f"{source.stem}-rest.jsonl")


def _printable_lines(words: str) -> str:
    return "\n".join(map(printable, words.split("\n")))


def _counts(outcome: Outcome) -> str:
    if outcome.never_began:
        mistakes = "1 mistake" if outcome.error_count == 1 else f"{outcome.error_count:,} mistakes"
        return f"the input was refused, {mistakes}"
    never_ran = outcome.total - outcome.completed - outcome.failed
    counts = f"{outcome.completed:,} of {outcome.total:,} lines answered, {outcome.failed:,} failed"
    rest = f", {never_ran:,} never ran" if never_ran else ""
    return f"{counts}{rest}, in {duration(outcome.working_s)}"


def _bar(progress: Progress) -> str:
    share = progress.recorded / progress.total if progress.total else 0.0
    full = int(share * _BAR)
    return f"[{'#' * full}{'.' * (_BAR - full)}] {share:6.1%}"
