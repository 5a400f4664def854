"""Keeps a background loop alive whatever it runs into."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

#: A fault that repeats must fill neither the log nor a processor (seconds).
PAUSE_S = 1.0


async def forever(
    name: str,
    round_: Callable[[], Awaitable[None]],
    *,
    unless: type[Exception] | tuple[()] = (),
) -> None:
    """Run one round after the other until cancelled; a round that fails is logged and repeated.

    A round may be a loop of its own, which ends only when it fails. An error of the kind `unless`
    ends the loop, and is raised.
    """
    while True:
        try:
            await round_()
        except unless:
            raise
        except Exception:
            # A fault must not silently end what everything else counts on.
            log.exception("background_round_failed", extra={"loop": name})
            await asyncio.sleep(PAUSE_S)
