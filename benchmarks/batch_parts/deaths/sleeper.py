"""A runner that is stopped with its whole node, replaced elsewhere, and wakes up beside the other.

The engine on its node goes on: what it answers meanwhile waits for the runner when it wakes up.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lifecycle_parts import accidents

from batch_parts.deaths.trial import RunnerSeen, Trial
from compute_functions import processes
from lab import lifecycle_engine

#: So many lines are recorded by the other one before it wakes up.
LINES_MEANWHILE = 30
#: Where an exit status stands in /proc/PID/stat, counted after the command's closing bracket.
_STATUS_FIELD = 49


@dataclass(frozen=True, slots=True, kw_only=True)
class Slept:
    """What came of it: the exit status, the bytes it wrote to the journal, the lines it asked."""

    again_s: float
    status: int
    wrote: int
    asked: int


async def sleeper(trial: Trial) -> Slept:
    """Stop the runner until another one works, and wake it up alone; then its node."""
    await trial.gone_on(LINES_MEANWHILE)
    seen = await trial.running()
    with _stopped(trial, seen):
        stopped_at = time.time()
        asked = await trial.until(
            lambda: trial.diary.first(after=stopped_at, above=seen.epoch), what="another runner"
        )
        await trial.running(above=seen.epoch)
        await trial.gone_on(LINES_MEANWHILE)
        trial.look()
        before = _size(trial, seen)
        woke_at = time.time()
        os.kill(seen.pid, signal.SIGCONT)
        await trial.until(lambda: processes.started(seen.pid) is None, what="its end")
        status = _status(seen.pid)
    trial.diary.read()
    return Slept(
        again_s=asked.at - stopped_at,
        status=status,
        wrote=_size(trial, seen) - before,
        asked=sum(one.epoch == seen.epoch and one.at > woke_at for one in trial.diary.asked),
    )


@contextmanager
def _stopped(trial: Trial, seen: RunnerSeen) -> Iterator[None]:
    """Stop all of a runner's node but the engines, and let it go on afterwards."""
    site = trial.stand.site
    engines = accidents.processes_on(site, seen.host, Path(lifecycle_engine.__file__).name)
    # The runner first: who is its parent must not see it stop, nor its end.
    pids = [seen.pid, *(site.cluster.processes(seen.host) - {seen.pid, *engines})]
    try:
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # It ended meanwhile.
        os.kill(pid, number)


def _size(trial: Trial, seen: RunnerSeen) -> int:
    trial.journals.keep()
    return trial.journals.path(seen.epoch).stat().st_size


def _status(pid: int) -> int:
    """Return the exit status of a process that has ended, and whose parent sleeps."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return os.waitstatus_to_exitcode(int(text.rpartition(")")[2].split()[_STATUS_FIELD]))
