"""A process that the lab started: awaited until it is ready, watched, and stopped by its id."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from compute_functions import bound_child

#: How often readiness is looked at (seconds).
POLL_S = 0.05
#: How long a process may take to leave when asked before it is killed (seconds), unless its
#: command says that it needs longer.
GRACE_S = 20.0
#: Ends the process if the lab is killed and cannot end it itself.
_BOUND = (sys.executable, "-I", "-S", bound_child.__file__)


class ProcessFailed(RuntimeError):
    """A process of the lab did not become ready, or left before it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run. The output of the process goes to `log`."""

    name: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    directory: Path | None = None
    #: What asks the process to end.
    farewell: signal.Signals = signal.SIGTERM
    #: How long it may take then (seconds): longer than whatever it has to end itself.
    grace_s: float = GRACE_S


class Child:
    """A running process and the group it leads."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process) -> None:
        self.command = command
        self._process = process

    @property
    def pid(self) -> int:
        """The process's id, which is also its group's."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self._process.returncode is None

    async def until(self, ready: Callable[[], bool], *, within_s: float) -> None:
        """Wait until `ready` says so; raises `ProcessFailed` if the process leaves or is slow."""
        try:
            async with asyncio.timeout(within_s):
                while not ready():
                    if not self.running:
                        raise ProcessFailed(
                            _tail(self.command, f"left with {self._process.returncode}")
                        )
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise ProcessFailed(
                _tail(self.command, f"was not ready within {within_s:.0f} s")
            ) from error

    def terminate(self) -> None:
        """Ask the process to end, and do not wait: whoever runs it will."""
        if self.running:
            self._signal(self.command.farewell)

    async def left(self, *, within_s: float) -> int:
        """Wait until the process has left, and return its exit status."""
        async with asyncio.timeout(within_s):
            return await self._process.wait()

    async def stop(self) -> None:
        """End the process and everything in its group."""
        self.terminate()
        if self.running:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self.command.grace_s)
        # Also when the leader has left: it may have left children behind.
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


@asynccontextmanager
async def running(command: Command) -> AsyncIterator[Child]:
    """Run a command beside the body, in a process group of its own."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *_BOUND,
            str(os.getpid()),
            *command.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(command.environment),
            cwd=command.directory,
            start_new_session=True,
        )
    child = Child(command, process)
    try:
        yield child
    finally:
        await asyncio.shield(child.stop())


async def output_of(command: Command, *, within_s: float) -> str:
    """Run a command to its end and return its standard output; its errors go to its log."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=dict(command.environment),
            cwd=command.directory,
        )
    try:
        async with asyncio.timeout(within_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ProcessFailed(_tail(command, f"failed with {process.returncode}"))
    return output.decode()


def _tail(command: Command, what: str) -> str:
    with command.log.open(encoding="utf-8", errors="replace") as log:
        tail = "".join(deque(log, maxlen=15))
    return f"{command.name} {what}. The end of {command.log}:\n{tail}"
