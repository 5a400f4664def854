"""Keeps a background loop alive whatever one of its rounds runs into."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()

#: A fault that repeats must fill neither the log nor a processor (seconds).
PAUSE_S = 1.0


async def forever(name: str, round_: Callable[[], Awaitable[None]]) -> None:
    """Run one round after the other until cancelled; a round that fails is logged and repeated."""
    while True:
        try:
            await round_()
        except Exception:
            # A bug in one round must not leave every later request without an answer.
            log.exception("background_round_failed", loop=name)
            await asyncio.sleep(PAUSE_S)
