"""`remaining IN`: print the lines of a batch that is over which have no good answer.

They are a file for another run: `remaining in.jsonl > rest.jsonl`, then `run rest.jsonl`. The
answers of both are the lines of both `output.jsonl`.

Exit status: 0 they are printed, also if there are none; 2 wrong arguments, among them a batch that
is not over; 3 IN is not the batch's input; 6 the file system failed.
"""

from __future__ import annotations

import hashlib
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Callable
from pathlib import Path

from batch import remaining
from batch.commands import output, program, run_options
from batch.commands.printable import printable
from batch.errors import BatchError, DiskFailed, InputRefused, InputUnreadable
from batch.folder import Folder, Manifest
from batch.input_file import InputFile

PRINTED, WRONG, REFUSED, DISK = 0, 2, 3, 6


class NotOver(BatchError):
    """There is no batch in the folder, or one that is not over."""


class OtherInput(BatchError):
    """The file is not the one that the batch was of."""


_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (NotOver, WRONG),
    (OtherInput, REFUSED),
    (InputRefused, REFUSED),
    (InputUnreadable, DISK),
    (DiskFailed, DISK),
)


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "remaining",
        help="print the lines of a batch that have no good answer",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=Path, metavar="IN", help="the input of the batch")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="the batch folder; IN.batch if left out"
    )
    parser.set_defaults(run=run)


def run(given: Namespace) -> int:
    """Print the lines and return the exit status."""
    try:
        count, total = _printed(given.input, run_options.folder(given))
    except (NotOver, OtherInput, InputRefused, InputUnreadable, DiskFailed) as error:
        output.write(sys.stderr, f"{printable(str(given.input))}: {error}\n")
        return next(status for kind, status in _STATUSES if isinstance(error, kind))
    output.write(sys.stderr, f"{count:,} of {total:,} lines have no good answer\n")
    return PRINTED


def _printed(path: Path, folder: Folder) -> tuple[int, int]:
    """Print the lines; returns how many, and how many lines the batch has."""
    manifest = _over(path, folder)
    done = remaining.answered_ids(folder.output) if folder.output.exists() else set()
    with InputFile.open(path) as source:
        _require_the_same(source, manifest)
        count = remaining.write_remaining(
            source, done, _printer(), most_line_bytes=manifest.rules.most_line_bytes
        )
        source.require_unchanged()
    with output.told_apart():
        sys.stdout.flush()
    return count, manifest.total


def _over(path: Path, folder: Folder) -> Manifest:
    """Return what the batch is of, or raise `NotOver`."""
    where = printable(str(folder.path))
    try:
        manifest, outcome = folder.manifest(), folder.outcome()
    except NotADirectoryError as error:
        raise NotOver(f"{where} is no batch folder") from error
    except OSError as error:
        raise DiskFailed(f"{where}: {error.strerror}") from error
    if manifest is None:
        raise NotOver(f"no line was run in {where}")
    if outcome is None:
        again = program.command("run", str(path))
        raise NotOver(f"the batch in {where} is not over: `{again}` goes on with it")
    return manifest


def _require_the_same(source: InputFile, manifest: Manifest) -> None:
    """Raise `OtherInput` for a file whose lines may be others under the same names."""
    digest = hashlib.sha256()
    for block in source.blocks():
        digest.update(block)
    if (source.size, digest.hexdigest()) != (manifest.bytes, manifest.sha256):
        raise OtherInput("this is not the file that was run, or it was changed since")


def _printer() -> Callable[[bytes], None]:
    """Return what writes a line as it stands, whatever the terminal's letters are."""

    def write(line: bytes) -> None:
        with output.told_apart():
            sys.stdout.buffer.write(line)

    return write
