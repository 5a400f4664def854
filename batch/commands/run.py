"""`run IN`: send every line of a file to an engine, and get one record for each.

Run it again and it goes on where it ended, whatever ended it.

Exit status: 0 over, 2 wrong arguments, 3 the input is refused, 4 ended before the end: run again
(with --no-engine: the input is good), 5 another runner has taken over, 6 the disk failed: run again
when it works.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from batch import errors
from batch.commands import program, run_options, screen
from batch.commands.printable import printable
from batch.commands.screen import LastingScreen, Screen
from batch.concurrency import MOST
from batch.folder import Folder
from batch.input_file import InputFile
from batch.outcome import Outcome, Status
from batch.progress import SILENT_S
from batch.runner import Runner
from batch.standing import Standing
from batch.transports.no_engine import NoEngine
from batch.transports.transport import Transport

if TYPE_CHECKING:
    from batch.transports.http import EngineAddress

OVER, WRONG, REFUSED, RESUME, TAKEN_OVER, DISK = 0, 2, 3, 4, 5, 6

#: Nearly all that a run makes is gone a moment later, without cycles. To look for some at every 700
#: new objects, as Python does, costs a twelfth of the processor time.
_OBJECTS_BEFORE_A_LOOK = 50_000

#: Open files beside one for each line under way: those of the batch itself, and of the process.
_OTHER_FILES = 64

_log = logging.getLogger(__name__)

_STATUSES: tuple[tuple[type[errors.BatchError], int, str], ...] = (
    (errors.KeyUnreadable, WRONG, ""),
    (errors.AtWork, WRONG, ""),
    (errors.TakenOver, TAKEN_OVER, ""),
    (errors.DiskFailed, DISK, "the disk failed: "),
    (errors.InputUnreadable, DISK, "the input cannot be read: "),
    (errors.EngineGone, RESUME, ""),
    (errors.Left, RESUME, ""),
)


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "run",
        help="run a batch, or go on with one",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    run_options.add_to(parser)
    parser.set_defaults(run=run, parser=parser)


def run(given: Namespace) -> int:
    """Run the batch and return the exit status."""
    if given.input is None and given.folder is None:
        given.parser.error("give IN, or --folder, or both")
    # Records of our own loggers, without bodies; a terminal has its bar for that.
    level = logging.WARNING if sys.stdout.isatty() else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    gc.set_threshold(_OBJECTS_BEFORE_A_LOOK, *gc.get_threshold()[1:])
    _preempt_nobody()
    shown = LastingScreen(screen.of(sys.stdout), sys.stdout)
    try:
        outcome = asyncio.run(_run(given, shown))
    except errors.BatchError as error:
        return _ended(error, given, shown)
    except OSError as error:
        # The folder could not even be made, or not be read.
        return _ended(errors.DiskFailed(str(error)), given, shown)
    shown.end(outcome, run_options.folder(given))
    return REFUSED if outcome.status is Status.FAILED else OVER


async def _run(given: Namespace, shown: Screen) -> Outcome:
    address = None if given.no_engine else run_options.address(given)
    if given.no_engine and given.epoch is None:
        await asyncio.to_thread(_require_nobody_at_work, run_options.folder(given))
    if given.folder is None:
        folder = run_options.folder(given)
        refused = await asyncio.to_thread(_refused_at_once, given.input, folder)
        if refused is not None:
            return refused
        await asyncio.to_thread(_allow_another_try, folder)
    async with _opened(address) as engine:
        most = _connections(given.concurrency or MOST)
        runner = Runner(run_options.job(given, most=most), engine, tell=shown.show)
        with _signals(runner, shown, waits=not given.no_engine):
            return await runner.run()


@asynccontextmanager
async def _opened(address: EngineAddress | None) -> AsyncIterator[Transport]:
    """Lend the engine; None for none."""
    if address is None:
        yield NoEngine()
        return
    from batch.transports import http  # noqa: PLC0415 - aiohttp: who asks no engine needs none

    async with http.opened(address) as engine:
        yield engine


def _connections(wanted: int) -> int:
    """Return how many connections there may be: the usual soft limit of files is 1,024."""
    files = wanted + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = files if soft == resource.RLIM_INFINITY else min(files, soft)
    return max(files - _OTHER_FILES, 1)


def _preempt_nobody() -> None:
    """Have the engine and its callers finish their turn on the processor when an answer comes."""
    if not hasattr(os, "SCHED_BATCH"):
        return  # Linux alone has it.
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:
        _log.warning("no_batch_scheduling %s", error)


def _require_nobody_at_work(folder: Folder) -> None:
    """Raise `AtWork` if a runner would be taken over by one that does not go on with its lines."""
    if folder.outcome() is not None:
        return
    at = (folder.progress() or {}).get("at")
    silent_s = time.time() - at if isinstance(at, int | float) else SILENT_S
    # One on a node whose clock is ahead is there, too.
    if silent_s < SILENT_S:
        raise errors.AtWork(max(0.0, silent_s))


def _refused_at_once(path: Path, folder: Folder) -> Outcome | None:
    """Refuse what is no file before a folder is made for it, which would be nobody's."""
    if folder.path.exists():
        return None
    try:
        InputFile.open(path).close()
    except errors.InputRefused as refused:
        return Standing(0, None).outcome(
            Status.FAILED, errors=(refused.error,), error_count=1, reason=str(refused)
        )
    return None


def _allow_another_try(folder: Folder) -> None:
    """Forget that an input was refused: who runs it again has mended it, or sees the same."""
    outcome = folder.outcome()
    if outcome is not None and outcome.never_began:
        folder.forget_outcome()


@contextmanager
def _signals(runner: Runner, shown: Screen, *, waits: bool) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the run in order, and a second Ctrl-C at once.

    One that `waits` may have lines under way.
    """
    loop = asyncio.get_running_loop()
    asked = 0

    def interrupted() -> None:
        nonlocal asked
        asked += 1
        if asked == 1 and waits:
            shown.say("Waiting for the lines under way. Once more Ctrl-C: do not wait.")
        runner.leave(within_s=None if asked == 1 else 0.0)

    loop.add_signal_handler(signal.SIGTERM, runner.leave)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)


def _ended(error: errors.BatchError, given: Namespace, shown: Screen) -> int:
    """Say why there is no outcome, and what to do."""
    for kind, status, words in _STATUSES:
        if isinstance(error, kind):
            shown.say(f"{words}{error}{_hint(error, status, given)}")
            return status
    raise error


def _hint(error: errors.BatchError, status: int, given: Namespace) -> str:
    """Return what to do, where that may help."""
    if isinstance(error, errors.KeyRefused):
        # The same command again would fail again.
        key: Path | None = given.api_key_file
        return (
            ": give --api-key-file, a file with its key"
            if key is None
            else f": {printable(str(key))} holds another key than the engine's"
        )
    # Without an engine the same command would get no further, unless it was the disk.
    helped = {DISK} if given.no_engine else {RESUME, DISK}
    again = status in helped and sys.stdout.isatty()
    return f"\nTo go on: {program.command(*sys.argv[1:])}" if again else ""
