"""Walltimes that end under load: a successor takes over, and nobody should notice."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lab.slurm_sites.site import SlurmSite
from lifecycle_parts.asked import Outcome
from lifecycle_parts.load import Load, Mix, load
from lifecycle_parts.stand import FIRST, HOT, Stand
from lifecycle_parts.watching import gap, gone, ready, successor, until

#: The walltime ends so soon then (seconds): later than the longest stream that runs.
ENDS_IN_S = 60
#: Longer than a successor takes to be ready (seconds).
LONG_S = 20.0
#: Before the first rollover streams of every kind are under way (seconds).
SETTLING_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollovers:
    """What came of them: `outlasted` counts whole streams that were longer than a rollover.

    `seconds` are from the new walltime to the moment when the old instance was gone.
    """

    outcome: Outcome
    gap_s: float
    outlasted: int
    seconds: tuple[float, ...]


async def rollovers(stand: Stand, number: int, *, mix: Mix | None = None) -> Rollovers:
    """Let an instance's walltime end so often, one after the other, under load."""
    site = stand.first
    mix = mix or Mix(model=HOT, long_s=LONG_S)
    async with (
        load(stand.running.base_url(FIRST), stand.token, mix) as callers,
        gap(site, HOT) as counted,
    ):
        await _settled(callers)
        moments = [await _rollover(site) for _ in range(number)]
    outcome = callers.outcome
    return Rollovers(
        outcome=outcome,
        gap_s=counted.seconds,
        outlasted=sum(outcome.spanning(began, over) for began, over, _ in moments),
        seconds=tuple(ended - began for began, _, ended in moments),
    )


async def _settled(callers: Load) -> None:
    """Wait until every kind of request was answered, and long streams are in their middle."""
    until_s = time.monotonic() + SETTLING_S
    await until(
        lambda: time.monotonic() > until_s and bool(callers.asked), what="the load is under way"
    )


async def _rollover(site: SlurmSite) -> tuple[float, float, float]:
    """Let one walltime end; return when that began, when a successor was ready, and its end."""
    old = await until(lambda: ready(site, HOT), what="an instance is ready")
    began = time.monotonic()
    await site.expire(old, in_s=ENDS_IN_S)
    await until(lambda: successor(site, HOT, of=old.name), what="a successor is ready")
    taken_over = time.monotonic()
    await until(lambda: gone(site, old.name), what="the old instance has gone")
    return began, taken_over, time.monotonic()
