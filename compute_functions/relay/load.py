"""How busy an engine is, as its own metrics say."""

from __future__ import annotations

import asyncio
import re

from compute_functions.contract.relay import EngineLoad
from compute_functions.engine_config import LoadMetrics
from compute_functions.errors import CallFailed
from compute_functions.relay.engine_calls import EngineCalls

#: The engine's page may be slow while it is busy (seconds).
PAGE_TIMEOUT_S = 5.0
#: More than any engine's page has (bytes).
PAGE_LIMIT = 8 * 1024 * 1024
OK = 200


class LoadReader:
    """Asks one engine for its load."""

    def __init__(self, calls: EngineCalls, metrics: LoadMetrics) -> None:
        self._calls = calls
        self._path = metrics.path
        self._running = _samples(metrics.running)
        self._waiting = _samples(metrics.waiting)

    async def read(self) -> EngineLoad | None:
        """Return the load; None if the engine does not tell it now."""
        try:
            async with asyncio.timeout(PAGE_TIMEOUT_S):
                page = await self._page()
        except (CallFailed, TimeoutError):
            return None
        running, waiting = _sum(self._running, page), _sum(self._waiting, page)
        if running is None or waiting is None:
            return None
        return EngineLoad(running=running, waiting=waiting)

    async def _page(self) -> bytes:
        async with self._calls.call(self._path, headers={}, method="GET") as response:
            if response.status != OK:
                return b""
            page = bytearray()
            while part := await response.read():
                page += part
                if len(page) > PAGE_LIMIT:
                    return b""
            return bytes(page)


def _samples(name: str) -> re.Pattern[bytes]:
    """Return what finds the samples of a metric, whatever their labels."""
    return re.compile(rb"^%b(?:\{[^\n]*\})? +(\S+)" % re.escape(name).encode(), re.MULTILINE)


def _sum(samples: re.Pattern[bytes], page: bytes) -> float | None:
    found = samples.findall(page)
    if not found:
        return None
    try:
        total = sum(float(value) for value in found)
    except ValueError:
        return None
    # NaN and infinity are numbers there, and no load.
    return total if 0 <= total < float("inf") else None
