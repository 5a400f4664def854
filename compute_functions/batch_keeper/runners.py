"""Runners as children of this process: begun, told to leave, and gone when this process is."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from batch.commands.run import DISK, RESUME
from compute_functions.batch_keeper import runner_command
from compute_functions.batch_keeper.pulse import Pulse
from compute_functions.batch_keeper.runner_command import Target
from compute_functions.batch_keeper.working import Run
from compute_functions.batch_spool import order_file
from compute_functions.batch_spool.folders import Spool
from compute_functions.engine_process import EngineProcess
from compute_functions.errors import EngineFailed, SiteError

log = logging.getLogger("hotnode.batches")

#: A runner ends by itself within its own time; one that hangs is killed so much later (seconds).
_MORE_S = 10.0
#: When this process ends, runners may write out what came for so long (seconds).
_LAST_WORDS_S = 2.0
#: A runner tells its progress every second, and ends by itself when the disk hangs for a minute.
#: One that is silent for longer does nothing any more, and is killed (seconds).
SILENT_S = 120.0
#: How often that is looked at (seconds).
_LOOK_S = 1.0
#: The exit status that is told of a runner that could not even be started.
NOT_STARTED = 70
#: Of so many runners that ended it is still told how.
_MOST_ENDED = 200


@dataclass(slots=True)
class _Child:
    """One runner; its `process` is None until the disk has let it begin.

    `leaves_by` is when it is killed (monotonic); None while nobody wants it gone.
    """

    run: Run
    process: EngineProcess | None = None
    is_unwanted: bool = False
    leaves_by: float | None = None


class Runners:
    """The runners of one process. `changed` is called whenever one begins or ends.

    One that tells nothing for `silent_s` is killed: its batch would stand still for ever.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        target: Callable[[], Target],
        changed: Callable[[], None],
        silent_s: float = SILENT_S,
    ) -> None:
        self._spool = spool
        self._target = target
        self._changed = changed
        self._silent_s = silent_s
        self._latest: dict[str, _Child] = {}
        self._attending: dict[asyncio.Task[None], _Child] = {}
        self._alive: list[_Child] = []

    @property
    def runs(self) -> tuple[Run, ...]:
        """The latest runner of each batch; the `pid` of one that is being started is 0."""
        return tuple(child.run for child in self._latest.values())

    @property
    def active(self) -> int:
        """How many run."""
        return len(self._alive)

    def has(self, batch: str, epoch: int) -> bool:
        """Whether the runner of this epoch was begun, whatever became of it."""
        return batch in self._latest and self._latest[batch].run.epoch >= epoch

    def begin(self, batch: str, epoch: int) -> None:
        """Have a runner begin. A disk that hangs holds up that one, and not who asks for it.

        One that cannot be started is told of as one that ended.
        """
        child = _Child(Run(batch=batch, epoch=epoch, pid=0))
        # At the end: what ended last is remembered longest.
        self._latest.pop(batch, None)
        self._latest[batch] = child
        self._forget_oldest()
        task = asyncio.create_task(self._live(child), name=f"runner {batch}")
        self._attending[task] = child
        task.add_done_callback(self._attending.pop)

    def leave(self, batch: str) -> None:
        """Let a batch's runner finish the lines under way, and end."""
        child = self._latest.get(batch)
        if child is not None:
            self._let_leave(child)

    def leave_all(self) -> None:
        """Let all of them end."""
        for child in self._attending.values():
            self._let_leave(child)

    async def left(self, within_s: float) -> bool:
        """Wait until all have ended, at most so long (seconds); tell whether they have."""
        if self._attending:
            await asyncio.wait(set(self._attending), timeout=max(0.0, within_s))
        return not self._alive

    async def close(self) -> None:
        """End all, within moments; what they have recorded stays."""
        for task, child in tuple(self._attending.items()):
            if child.process is None:
                task.cancel()  # It may wait for the disk, and has no process, or ends it.
        until = time.monotonic() + _LAST_WORDS_S
        ending = [
            _stop(child.run, child.process, lambda: until - time.monotonic())
            for child in self._alive
            if child.process is not None
        ]
        await asyncio.gather(*ending)
        await self.left(_MORE_S)

    async def _live(self, child: _Child) -> None:
        """See a runner from its beginning to its end."""
        run = child.run
        try:
            child.process = await self._started(child)
        except (SiteError, OSError) as error:
            log.error(  # noqa: TRY400 - the reason says all
                "runner_not_started batch=%s epoch=%d error=%s", run.batch, run.epoch, error
            )
            # A disk that fails, or a host without room, is no fault of the batch.
            status = DISK if isinstance(error, OSError | EngineFailed) else NOT_STARTED
            self._end(child, status)
            return
        if child.process is None:
            self._end(child, RESUME)
            return
        child.run = replace(run, pid=child.process.process.pid)
        log.info("runner_begins batch=%s epoch=%d pid=%d", run.batch, run.epoch, child.run.pid)
        self._alive.append(child)
        if child.is_unwanted:
            self._let_leave(child)
        self._changed()
        await self._attend(child, child.process)

    async def _started(self, child: _Child) -> EngineProcess | None:
        """Start a runner; None if nobody wants it any more when the disk has answered.

        It waits for as long as that takes: a process must not be lost while it is being made.
        """
        folder = self._spool.folder(child.run.batch)
        order = await asyncio.to_thread(order_file.read, folder)
        if child.is_unwanted:
            return None
        command = runner_command.command(order, folder, child.run.epoch, self._target())
        environment = runner_command.environment(order, os.environ)
        return await EngineProcess.start(command, environment, folder.log)

    def _end(self, child: _Child, status: int) -> None:
        child.run = replace(child.run, status=status)
        self._changed()

    def _let_leave(self, child: _Child) -> None:
        child.is_unwanted = True
        if child.process is None or child.leaves_by is not None or child.run.status is not None:
            return
        child.leaves_by = time.monotonic() + runner_command.DRAIN_S + _MORE_S
        child.process.process.terminate()
        log.info("runner_told_to_leave batch=%s epoch=%d", child.run.batch, child.run.epoch)

    async def _attend(self, child: _Child, process: EngineProcess) -> None:
        """See a runner that runs to its end."""
        ended = asyncio.create_task(process.exited())
        pulse = Pulse(self._spool.folder(child.run.batch).progress)
        looking = asyncio.create_task(pulse.keep_looking(_LOOK_S))
        while not ended.done():
            await asyncio.wait({ended}, timeout=_LOOK_S)
            if not ended.done() and self._must_go(child, pulse):
                await _stop(child.run, process, lambda: 0.0)
        # A disk that hangs holds nobody up here.
        looking.cancel()
        await asyncio.wait({looking})
        self._alive.remove(child)
        run, status = child.run, ended.result()
        log.info("runner_ended batch=%s epoch=%d status=%s", run.batch, run.epoch, status)
        self._end(child, status)

    def _must_go(self, child: _Child, pulse: Pulse) -> bool:
        """Tell whether a runner had its time to leave, or is silent for too long."""
        if child.leaves_by is not None and time.monotonic() > child.leaves_by:
            return True
        if pulse.silent_s <= self._silent_s:
            return False
        run = child.run
        log.error(
            "runner_silent batch=%s epoch=%d for_s=%.0f", run.batch, run.epoch, pulse.silent_s
        )
        return True

    def _forget_oldest(self) -> None:
        ended = [batch for batch, child in self._latest.items() if child.run.status is not None]
        for batch in ended[:-_MOST_ENDED]:
            del self._latest[batch]


async def _stop(run: Run, process: EngineProcess, left_s: Callable[[], float]) -> None:
    """End a runner. One that waits for a disk ends when the kernel lets it, and not before."""
    try:
        await process.stop(left_s)
    except TimeoutError:
        said = "runner_outlives_its_kill batch=%s epoch=%d pid=%d"
        log.warning(said, run.batch, run.epoch, run.pid)
