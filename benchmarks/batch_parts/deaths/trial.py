"""One batch on its way: who works on it, how far it is, and what was seen of it meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from lifecycle_parts import accidents
from lifecycle_parts.stand import HOT
from lifecycle_parts.watching import until

from batch_parts.deaths import journals
from batch_parts.deaths.diary import Diary
from batch_parts.deaths.journals import Journals
from batch_parts.deaths.stand import Stand
from compute_functions.batch_keeper.working import Working
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.batch_spool.told import Progress
from compute_functions.errors import ConfigurationError

#: No death may hold a batch up for longer (seconds): an instance that dies young has its successor
#: ordered after a pause, and a node without power is missed by Slurm after half a minute.
WITHIN_S = 240.0
#: How often segments of the journal are looked for (seconds); a batch is forgotten when it is done.
_KEEP_S = 0.1
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSeen:
    """A runner that is alive: its process, as this machine counts, its instance and its node."""

    pid: int
    epoch: int
    instance: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The lines that the journal held at a moment (seconds since the epoch)."""

    at: float
    lines: frozenset[int]


@dataclass(slots=True, kw_only=True)
class Trial:
    """A batch of so many lines at the stand."""

    stand: Stand
    batch: str
    lines: int
    diary: Diary
    journals: Journals
    snapshots: list[Snapshot] = field(default_factory=list)
    #: Nodes that are being switched on again.
    repairs: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def folder(self) -> BatchFolder:
        """The batch's folder in the spool."""
        return self.stand.spool.folder(self.batch)

    @property
    def recorded(self) -> int:
        """How many lines have their record, as runners tell."""
        told = Progress.read(self.folder)
        return 0 if told is None else told.completed + told.failed

    def runner(self) -> RunnerSeen | None:
        """Return the runner with the highest epoch, if it is alive. No agent is asked."""
        spool = self.stand.spool
        found = [
            (run.epoch, file.stem)
            for file in spool.working_folder.glob("[!.]*.json")
            for run in (Working.read(spool, file.stem) or Working()).runs
            if run.batch == self.batch and run.status is None
        ]
        return self._alive(*max(found)) if found else None

    def _alive(self, epoch: int, instance: str) -> RunnerSeen | None:
        try:
            host = self.stand.site.registration(instance).host
        except (FileNotFoundError, ConfigurationError):
            return None
        words = ("batch run", f"{self.batch}/", f"--epoch {epoch} ")
        pids = accidents.processes_on(self.stand.site, host, *words)
        if not pids:
            return None
        return RunnerSeen(pid=pids[0], epoch=epoch, instance=instance, host=host)

    async def running(self, *, above: int = 0) -> RunnerSeen:
        """Wait for a runner with a higher epoch than this."""

        def found() -> RunnerSeen | None:
            seen = self.runner()
            return seen if seen is not None and seen.epoch > above else None

        return await self.until(found, what="a runner")

    async def gone_on(self, lines: int) -> None:
        """Wait until so many more lines are recorded."""
        enough = self.recorded + lines
        if enough > self.lines:
            raise RuntimeError("the batch is too short for all that is to befall it")
        await self.until(lambda: self.recorded >= enough, what=f"{lines} more lines recorded")

    async def until(self, found: Callable[[], _T | None], *, what: str) -> _T:
        """Wait until there is something, and return it."""
        return await until(found, what=what, within_s=WITHIN_S)

    def look(self) -> None:
        """Note which lines are recorded now: none of them may be asked again."""
        lines = frozenset(journals.held(self.journals.segments()))
        self.snapshots.append(Snapshot(at=time.time(), lines=lines))


@asynccontextmanager
async def trial(stand: Stand, batch: str, lines: int) -> AsyncIterator[Trial]:
    """Watch a batch of the hot model beside the body."""
    kept = stand.running.folder / f"{batch}.journal"
    await asyncio.to_thread(kept.mkdir)
    found = Trial(
        stand=stand,
        batch=batch,
        lines=lines,
        diary=stand.diary(HOT),
        journals=Journals(folder=stand.spool.folder(batch).work / "journal", kept=kept),
    )
    keeping = asyncio.create_task(_keep(found.journals))
    try:
        yield found
    finally:
        for task in (keeping, *found.repairs):
            task.cancel()
        await asyncio.wait({keeping, *found.repairs})


async def _keep(kept: Journals) -> None:
    while True:
        await asyncio.to_thread(kept.keep)
        await asyncio.sleep(_KEEP_S)
