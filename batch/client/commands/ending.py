"""How a command ends: its exit status, and what a person is told of how a batch, or it, ended."""

from __future__ import annotations

from collections.abc import Iterator

from batch.client import errors
from batch.client.hosted import CANCELLED, COMPLETED, EXPIRED, FAILED, Hosted
from batch.commands import failures
from batch.commands.failures import Failures
from batch.commands.printable import printable
from batch.commands.program import command
from batch.errors import BatchError, DiskFailed, InputRefused, InputUnreadable

DONE, LINES_FAILED, WRONG, REFUSED, ENDED_EARLY = 0, 1, 2, 3, 4
NOT_ALLOWED, DISK, UNREACHABLE, INTERRUPTED = 5, 6, 7, 130
#: For the pages of help.
STATUSES = """\
exit status: 0 done, and every line of the batch has a good answer; 1 it completed, and lines
failed; 2 wrong arguments; 3 its input has mistakes, or it failed otherwise; 4 it was cancelled or
has expired; 5 the gateway refused; 6 the disk failed, or a file came damaged; 7 the gateway was
away for too long; 130 interrupted"""
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.NothingLeft, DONE),
    (errors.WrongSetting, WRONG),
    (errors.Mistaken, REFUSED),
    (InputRefused, REFUSED),
    (errors.NotLoggedIn, NOT_ALLOWED),
    (errors.Refused, NOT_ALLOWED),
    (errors.NotAsTold, DISK),
    (DiskFailed, DISK),
    (InputUnreadable, DISK),
    (errors.Unreachable, UNREACHABLE),
    (errors.NoAnswer, UNREACHABLE),
)
_LISTED = 10


def status_of(error: errors.ClientError | BatchError) -> int:
    """Return the exit status that says what went wrong."""
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


def status_of_batch(batch: Hosted) -> int:
    """Return the exit status that says how a batch ended."""
    if batch.status == COMPLETED:
        return LINES_FAILED if batch.failed else DONE
    return REFUSED if batch.status == FAILED else ENDED_EARLY


def as_text(batch: Hosted, why: Failures | None = None) -> str:
    """Return how a batch ended as a few lines, and what to do next."""
    lines = [_head(batch), *_problems(batch)]
    if why is not None:
        lines += failures.as_lines(why, of=batch.total - batch.completed)
    lines += _next_steps(batch)
    return "\n".join(lines) + "\n"


def _head(batch: Hosted) -> str:
    counts = f"{batch.completed:,} of {batch.total:,} lines answered, {batch.failed:,} failed"
    return f"{batch.id} {batch.status}: {counts}" if batch.total else f"{batch.id} {batch.status}"


def _problems(batch: Hosted) -> Iterator[str]:
    """Yield the reason, and the first mistakes of an input that was refused."""
    if batch.reason:
        yield f"  {printable(batch.reason)}"
    for problem in batch.problems[:_LISTED]:
        place = "" if problem.line is None else f"line {problem.line:,}: "
        yield f"  {place}{problem.code}: {printable(problem.message)}"
    if len(batch.problems) > _LISTED:
        yield f"  and {len(batch.problems) - _LISTED:,} more (--json shows all)"


def _next_steps(batch: Hosted) -> Iterator[str]:
    """Yield where the results are, and how to have lines without a good answer asked again."""
    if batch.results_path:
        yield f"  at the cluster: {printable(batch.results_path)}"
    if batch.output_file_id or batch.error_file_id:
        yield f"  the results: {command('results', batch.id)}"
    if batch.status in {CANCELLED, EXPIRED} or (batch.status == COMPLETED and batch.failed):
        yield f"  the lines without a good answer again: {command('resume', batch.id)}"
