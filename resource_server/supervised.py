"""One process of the gateway under its supervisor: started, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

log = structlog.get_logger()

#: A process imports for a second or two, and then connects to its servers (seconds).
READY_WITHIN_S = 60.0
#: Between a death and the next start; doubled with each death that follows a short life (seconds).
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
#: A process that lived so long did not die of its start (seconds).
STEADY_AFTER_S = 60.0
#: What a machine without processes, memory or files to spare says, and a virtual environment that
#: is being replaced; a thread that cannot be started, with which Python awaits the process; and
#: `ProcessFailed`.
NOT_STARTED = (OSError, RuntimeError)


class ProcessFailed(RuntimeError):
    """A process did not come to serve."""


class Process:
    """What to run under a name; `files` are open files that it inherits."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        files: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self._command = command
        self._environ = environ
        self._files = files
        self._ready = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    def note_ready(self, pid: int) -> None:
        """Take note that the process of that id serves; ids of others do not matter."""
        if self._child is not None and self._child.pid == pid:
            self._ready.set()

    async def start(self) -> None:
        """Return once the process serves, and keep it running from then on.

        Raises `ProcessFailed` if it ends before, or takes too long.
        """
        await self._begin()
        self._watch = asyncio.create_task(self._keep_running(), name=f"keep {self.name} running")

    def leave_dead(self) -> None:
        """Start it no more: whoever wants all to end may have told it so, too."""
        if self._watch is not None:
            self._watch.cancel()

    async def stop(self, *, within_s: float) -> None:
        """Ask the process to end, wait for it, and kill it if it takes too long."""
        self.leave_dead()
        if self._watch is not None:
            await asyncio.wait({self._watch})
        child = self._child
        if child is None or child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(within_s):
                await child.wait()
        except TimeoutError:
            log.error("process_killed", process=self.name, pid=child.pid)  # noqa: TRY400 - the timeout is the whole story
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _begin(self) -> None:
        self._ready.clear()
        self._child = child = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            env=self._environ,
            pass_fds=self._files,
        )
        log.info("process_started", process=self.name, pid=child.pid)
        ready = asyncio.create_task(self._ready.wait())
        ended = asyncio.create_task(child.wait())
        try:
            await asyncio.wait(
                {ready, ended}, timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not ready.done():
                raise ProcessFailed(f"{self.name} did not come to serve")
        finally:
            ready.cancel()
            ended.cancel()
        log.info("process_ready", process=self.name, pid=child.pid)

    async def _keep_running(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            pid, status = await self._end_of_child()
            if time.monotonic() - began > STEADY_AFTER_S:
                pause = FIRST_PAUSE_S
            log.error("process_died", process=self.name, pid=pid, status=status, again_in_s=pause)
            pause = await self._begin_again(pause)

    async def _begin_again(self, pause: float) -> float:
        """Try until the process serves; return the pause before the next start."""
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            try:
                await self._begin()
            except NOT_STARTED as failure:
                log.error(  # noqa: TRY400 - the reason says it all
                    "process_failed",
                    process=self.name,
                    reason=str(failure) or type(failure).__name__,
                    again_in_s=pause,
                )
                await self._kill_if_running()
            else:
                return pause

    async def _end_of_child(self) -> tuple[int, int]:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child.pid, await self._child.wait()

    async def _kill_if_running(self) -> None:
        if self._child is not None and self._child.returncode is None:
            with suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()


@asynccontextmanager
async def running(processes: Sequence[Process], *, stop_within_s: float) -> AsyncIterator[None]:
    """Run processes beside the body, which begins when all serve; stop them all in the end."""
    try:
        async with asyncio.TaskGroup() as starts:
            for process in processes:
                starts.create_task(process.start())
        yield
    finally:
        await asyncio.gather(*(process.stop(within_s=stop_within_s) for process in processes))
