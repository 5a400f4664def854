"""Waits for something that gives no sign when it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(happened: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Look again and again; `TimeoutError` if it does not happen."""
    async with asyncio.timeout(seconds):
        while not happened():  # noqa: ASYNC110 # there is no event to wait for, hence this module
            await asyncio.sleep(0.005)
