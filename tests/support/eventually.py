"""Waits, but not for ever: for a sign, or for something that gives none when it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(happened: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Look again and again; `TimeoutError` if it does not happen."""
    async with asyncio.timeout(seconds):
        while not happened():  # noqa: ASYNC110 # there is no event to wait for, hence this module
            await asyncio.sleep(0.005)


async def eventually_so(
    happened: Callable[[], Awaitable[object]], *, seconds: float = 20.0, every_s: float = 0.005
) -> None:
    """Ask again and again; `TimeoutError` if the answer stays no."""
    async with asyncio.timeout(seconds):
        while not await happened():  # noqa: ASYNC110 # likewise
            await asyncio.sleep(every_s)


async def soon(event: asyncio.Event, *, seconds: float = 20.0) -> None:
    """Wait for an event; `TimeoutError` if it does not come."""
    async with asyncio.timeout(seconds):
        await event.wait()
