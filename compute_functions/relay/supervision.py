"""Keeps a piece of work running, whatever happens to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

Work = Callable[[], Coroutine[None, None, None]]

log = logging.getLogger("hotnode.relay")


async def kept_running(work: Work, *, name: str, pause_s: float) -> None:
    """Run `work` until cancelled; if it ends, log why and begin it again after a pause."""
    while True:
        task = asyncio.create_task(work(), name=name)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            await asyncio.wait({task})
        error = None if task.cancelled() else task.exception()
        log.error("relay_restarts part=%s", name, exc_info=error)
        await asyncio.sleep(pause_s)


@asynccontextmanager
async def beside(*works: Work, name: str, pause_s: float) -> AsyncIterator[None]:
    """Keep pieces of work running beside the body."""
    tasks = [asyncio.create_task(kept_running(work, name=name, pause_s=pause_s)) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
