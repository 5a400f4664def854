"""An engine as a child process: a group of its own, a log file, an end that leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compute_functions import bound_child
from compute_functions.errors import ConfigurationError, EngineFailed

#: How long the kernel may take to end a killed process (seconds).
KILL_TIMEOUT_S = 10.0
#: How often one that ends is looked at: what it may take can change meanwhile (seconds).
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class EngineProcess:
    """A running engine; whoever starts it must `stop` it."""

    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Self:
        """Start `command` in a session of its own, with all that it prints appended to `log`.

        Raises `ConfigurationError` if there is no such program, `EngineFailed` if the host has no
        room for a process or its output.
        """
        binder = [sys.executable, "-I", "-S", bound_child.__file__, str(os.getpid())]
        if not os.access(command[0], os.X_OK):
            raise ConfigurationError(f"there is no program {command[0]}; is the engine installed?")
        try:
            return cls(await _started([*binder, *command], environment, log))
        except OSError as error:
            raise EngineFailed(f"it could not be started: {error.strerror}") from error

    async def exited(self) -> int:
        """Wait for the engine to end by itself; return its exit status."""
        return await self.process.wait()

    async def stop(self, left_s: Callable[[], float]) -> None:
        """Ask the engine to end, give it time while some is left, then end its whole group."""
        try:
            if self.process.returncode is None:
                self.process.terminate()
            while self.process.returncode is None and (left := left_s()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, _LOOK_EVERY_S)):
                        await self.process.wait()
        finally:
            self._kill_group()
        async with asyncio.timeout(KILL_TIMEOUT_S):
            await self.process.wait()

    def _kill_group(self) -> None:
        """End what is left, workers that outlived the engine's first process included."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # Nobody of the group is left, which is the aim.


async def _started(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> asyncio.subprocess.Process:
    descriptor = await _opened(log)
    try:
        # Here and not in a thread: the kernel takes the end of the thread for that of the parent.
        return await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=descriptor,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


async def _opened(log: Path) -> int:
    """Open a log; in a thread, for it may stand on a shared disk that hangs."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    opening = asyncio.get_running_loop().run_in_executor(None, os.open, log, flags, 0o600)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opened: asyncio.Future[int]) -> None:
    """Close what nobody waits for any more."""
    if not opened.cancelled() and opened.exception() is None:
        os.close(opened.result())
