"""`status DIR`: how far a batch is, or how it ended, from the files of its folder.

Exit status: 0 it is told, 2 wrong arguments, among them a folder without a batch, 6 the folder
cannot be read.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from batch.commands import output, screen
from batch.commands.printable import printable
from batch.commands.screen import Screen
from batch.errors import DiskFailed
from batch.folder import Folder
from batch.progress import SILENT_S, Progress

T = TypeVar("T")

TOLD, NO_BATCH, DISK = 0, 2, 6
EVERY_S = 1.0


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "status",
        help="say how far a batch is",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the batch folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--watch", action="store_true", help="go on until the batch is over")
    parser.set_defaults(run=run)


def run(given: Namespace) -> int:
    """Tell how the batch is and return the exit status."""
    shown = screen.JsonLines(sys.stdout) if given.json else screen.for_people(sys.stdout)
    look = _Look(Folder(given.folder), shown)
    try:
        over = _watch(look, on=given.watch)
    except NotADirectoryError:
        return _no_batch(given.folder)
    except (DiskFailed, OSError) as error:
        output.write(sys.stderr, f"{printable(str(given.folder))} cannot be read: {error}\n")
        return DISK
    return _no_batch(given.folder) if over is None else TOLD


def _watch(look: _Look, *, on: bool) -> bool | None:
    """Look until the batch is over, or once; says what the last look found."""
    over: bool | None = False
    try:
        over = look.take()
        while on and over is False:
            time.sleep(EVERY_S)
            over = look.take()
    except KeyboardInterrupt:
        pass  # Who looks leaves; the batch goes on.
    look.shown.leave()
    return over


class _Look:
    """Looks at a folder, and shows what there is."""

    def __init__(self, folder: Folder, shown: Screen) -> None:
        self.shown = shown
        self._folder = folder
        self._silent = False

    def take(self) -> bool | None:
        """Say whether the batch is over, None if there is no batch."""
        outcome = _sound("outcome.json", self._folder.outcome)
        if outcome is not None:
            self.shown.end(outcome, self._folder)
            return True
        told = self._folder.progress()
        if told is None:
            return None
        progress = _sound("progress.json", lambda: Progress.from_wire(told))
        self.shown.show(progress)
        self._note_silence(time.time() - progress.at)
        return False

    def _note_silence(self, silent_s: float) -> None:
        """Say once that nobody tells anything any more."""
        silent = silent_s > SILENT_S
        if silent and not self._silent:
            self.shown.say(
                f"No runner has told anything for {screen.duration(silent_s)}. "
                "If none is there any more, run the batch again: it goes on."
            )
        self._silent = silent


def _sound(name: str, read: Callable[[], T]) -> T:
    """Return what a file says, or raise `DiskFailed` if it cannot be understood."""
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DiskFailed(f"{name} is damaged ({error!r})") from error


def _no_batch(path: Path) -> int:
    near = Path(f"{path}.batch")
    hint = f"; there is one in {printable(str(near))}" if near.is_dir() else ""
    output.write(sys.stderr, f"there is no batch in {printable(str(path))}{hint}\n")
    return NO_BATCH
