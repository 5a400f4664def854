"""How many requests Globus Compute gets when nothing happens, as the stand-in counts them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import aiohttp

from lifecycle_parts.load import Mix, load
from lifecycle_parts.stand import FIRST, HOT, Stand

_OF_COMPUTE = "compute "


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Requests per second, of the identity that made the most."""

    per_second: float
    seconds: float


async def calls(stand: Stand, seconds: float) -> Calls:
    """Count for so long, while callers are answered by the sites' relays."""
    async with load(stand.running.base_url(FIRST), stand.token, Mix(model=HOT, longs=0)):
        before, began = await _counted(stand), time.monotonic()
        await asyncio.sleep(seconds)
        after, took = await _counted(stand), time.monotonic() - began
    most = max((after[name] - before.get(name, 0) for name in after), default=0)
    return Calls(per_second=most / took, seconds=took)


async def _counted(stand: Stand) -> dict[str, int]:
    """Return how many requests each identity made so far."""
    url = f"{stand.running.globus.url}/_local/counters"
    async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url) as said:
        counters: dict[str, int] = await said.json()
    return {name: number for name, number in counters.items() if name.startswith(_OF_COMPUTE)}
