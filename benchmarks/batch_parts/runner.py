"""`python -m batch run` as a process: its outcome, and its memory all the while."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from batch.folder import Folder
from batch.outcome import Outcome, Status
from batch_parts import processor
from batch_parts.stand import Engine
from batch_parts.turn import Turn
from lab.processes import Child, Command, ProcessFailed, running
from lab.stand_in import clean_environment

EVERY_S = 0.5
#: Longer than any run here takes (seconds).
WITHIN_S = 1800.0


@dataclass(slots=True)
class Memory:
    """The memory of a process over time: its own pages, and its part of shared ones (MB)."""

    samples: list[float] = field(default_factory=list)

    async def watch(self, pid: int) -> None:
        """Look now and then, until cancelled."""
        while True:
            # Between its end and this look nothing can be read.
            with suppress(OSError, ValueError):
                self.samples.append(pss_mb(pid))
            await asyncio.sleep(EVERY_S)

    @property
    def most(self) -> float:
        """The most that was seen."""
        return max(self.samples, default=0.0)

    def at(self, share: float) -> float:
        """Return what it was after this share of the time."""
        return self.samples[int(share * (len(self.samples) - 1))] if self.samples else 0.0


def pss_mb(pid: int) -> float:
    """Return a process's memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    [line] = (line for line in text.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) / 1024


@asynccontextmanager
async def begun(
    folder: Path, source: Path, engine: Engine, *options: str
) -> AsyncIterator[tuple[Child, Memory]]:
    """Run a batch beside the body, and watch its memory."""
    key = [] if engine.key_file is None else ["--api-key-file", str(engine.key_file)]
    command = Command(
        name="the runner",
        arguments=[
            *(sys.executable, "-P", "-m", "batch", "run", str(source), "--folder", str(folder)),
            *("--url", engine.url, *key, *options),
        ],
        log=folder.with_name(f"{folder.name}.log"),
        environment=clean_environment(),
    )
    memory = Memory()
    async with running(command) as child:
        watching = asyncio.create_task(memory.watch(child.pid))
        try:
            yield child, memory
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching


async def turn(folder: Path, source: Path, engine: Engine, *options: str) -> tuple[Turn, Memory]:
    """Run a batch to its end; the clock is its own, from the first line to the last.

    The processor time is that of the whole command, its start and the results' files with it.
    """
    used_s, began = processor.used_s(engine.pids), time.monotonic()
    if engine.priority is not None:
        # As a site's runners do.
        options += ("--priority", str(engine.priority))
    async with begun(folder, source, engine, *options) as (child, memory):
        await child.left(within_s=WITHIN_S)
    found = outcome(folder)
    return (
        Turn(
            seconds=found.working_s,
            lines=found.completed,
            tokens=found.use.total_tokens,
            whole_s=time.monotonic() - began,
            cpu_s=processor.used_s(engine.pids) - used_s if engine.pids else None,
        ),
        memory,
    )


def outcome(folder: Path) -> Outcome:
    """Return how a batch ended, or raise `ProcessFailed` if not well."""
    found = Folder(folder).outcome()
    if found is None or found.status is not Status.COMPLETED or found.failed:
        raise ProcessFailed(f"the runner did not come to a good end: {found}")
    return found
