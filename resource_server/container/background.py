"""Loops that run as long as something else is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from resource_server.services.supervision import forever


@asynccontextmanager
async def running(work: Callable[[], Awaitable[None]], *, name: str) -> AsyncIterator[None]:
    """Run a loop beside the body, begin it anew whenever it fails, and end it with the body."""
    task = asyncio.create_task(forever(name, work), name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
