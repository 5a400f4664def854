"""Looks at a batch until it is over, whatever the gateway does meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from batch.client import batches
from batch.client.gateway import Gateway
from batch.client.hosted import Hosted
from batch.progress import Rate

#: How often the gateway is asked (seconds). It answers from a row, and asks no site.
EVERY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A batch, how fast it is (lines a second), and for how long still (seconds), if known."""

    batch: Hosted
    rate: float | None
    left_s: float | None


async def watch(
    gateway: Gateway, batch_id: str, show: Callable[[Seen], None], *, every_s: float = EVERY_S
) -> Hosted:
    """Return the batch when it is over; `show` is told each time that it was looked at."""
    rate = Rate()
    while True:
        batch = await batches.get(gateway, batch_id)
        rate.saw(time.monotonic(), batch.done)
        show(_seen(batch, rate))
        if batch.over:
            return batch
        await asyncio.sleep(every_s)


def _seen(batch: Hosted, rate: Rate) -> Seen:
    """Return what is known of its pace: the site's word, or what was seen from here."""
    if batch.lines_per_s is not None:
        return Seen(batch=batch, rate=batch.lines_per_s, left_s=batch.left_s)
    left_s = rate.left_s(batch.total - batch.done) if batch.total else None
    return Seen(batch=batch, rate=rate.lines_per_s, left_s=left_s)
