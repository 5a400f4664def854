"""Ends a child process that is given up, with all that it has started."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

log = logging.getLogger("hotnode.processes")

#: A killed process is gone at once, unless its file system hangs (seconds).
KILL_S = 5.0


async def started(starting: Coroutine[Any, Any, Process]) -> Process:
    """Return the process that `starting` starts; whoever is cancelled meanwhile leaves none.

    asyncio itself may wait for ever then, for pipes that it did not come to open.
    """
    task = asyncio.create_task(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(OSError):
            await _end(await task, KILL_S)
        raise


@asynccontextmanager
async def ended_if_given_up(process: Process, *, kill_s: float = KILL_S) -> AsyncIterator[None]:
    """Run the body, which waits for a process; if it raises, or is cancelled, end the process.

    The process must have been started with `start_new_session`: the group that it leads is killed,
    a wrapper script with what it started. What cannot be killed is waited for no longer than
    `kill_s`. If the body waits to the end, what the process leaves behind goes on.
    """
    try:
        yield
    except BaseException:
        await _end(process, kill_s)
        raise


async def _end(process: Process, kill_s: float) -> None:
    # Also if its first process has ended: what that one left may hold the output open.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        async with asyncio.timeout(kill_s):
            await process.communicate()  # Not `wait`: the pipes are to be closed, too.
    except TimeoutError:
        log.warning("process_not_ended pid=%d", process.pid)
