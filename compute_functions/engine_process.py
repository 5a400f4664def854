"""An engine as a child process: a group of its own, a log file, an end that leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compute_functions import bound_child
from compute_functions.errors import ConfigurationError

#: How long the kernel may take to end a killed process (seconds).
KILL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class EngineProcess:
    """A running engine; whoever starts it must `stop` it."""

    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Self:
        """Start `command` in a session of its own, with all that it prints appended to `log`."""
        binder = [sys.executable, "-I", "-S", bound_child.__file__, str(os.getpid())]
        if not os.access(command[0], os.X_OK):
            raise ConfigurationError(f"there is no program {command[0]}; is the engine installed?")
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *binder,
                *command,
                env=dict(environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        return cls(process)

    async def exited(self) -> int:
        """Wait for the engine to end by itself; return its exit status."""
        return await self.process.wait()

    async def stop(self, grace_s: float) -> None:
        """Ask the engine to end, give it `grace_s`, then end its whole group."""
        try:
            if self.process.returncode is None:
                self.process.terminate()
                async with asyncio.timeout(grace_s):
                    await self.process.wait()
        except TimeoutError:
            pass  # It had its chance; the group is killed below.
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
