"""A cold model that somebody asks for: how soon it is ordered, and how soon it answers then."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from compute_functions.contract import InstanceState
from lab.slurm_sites.site import SlurmSite
from lifecycle_parts.asked import Asked
from lifecycle_parts.asking import Asker, Question, session
from lifecycle_parts.stand import COLD, FIRST, Stand
from lifecycle_parts.watching import ACTIVE, alone, until

_SUBMITTED = re.compile(r"^(\S+ \S+) INFO submitted instance=(\S+)", re.MULTILINE)
_OBSERVED = re.compile(
    rf'^hotnode_site_observed_timestamp_seconds\{{cluster="{FIRST}"\}} (\S+)$', re.MULTILINE
)
_AGE_EVERY_S = 0.25


class NeverReady(RuntimeError):
    """An instance that was ordered and answered did not say when it was ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One of them (seconds).

    `ordered_s` is from the request to the scheduler's word that it has the job; `first_s` from when
    the engine was ready to the first word; `oldest_s` how old the state was that callers were shown
    meanwhile, at most. `comments` are what the caller was told.
    """

    asked: Asked
    ordered_s: float
    first_s: float
    whole_s: float
    oldest_s: float
    comments: tuple[str, ...]


async def cold_start(stand: Stand) -> ColdStart:
    """Ask for the model when it has no instance, and wait until it has none again."""
    site = stand.first
    await alone(site, COLD, number=0)
    ages: list[float] = []
    async with session(stand.token) as opened:
        asker = Asker(opened, stand.running.base_url(FIRST))
        watching = asyncio.create_task(_watch_age(stand, ages))
        began_at, began = time.time(), time.monotonic()
        asked = await asker.ask(Question(model=COLD, stream=True))
        watching.cancel()
        await asyncio.wait({watching})
    first_at = began_at + (asked.first_at or asked.ended_at) - began
    name, ordered_at = _ordered(site.agent_log, after=began_at)
    ready_at = site.registration(name).ready_at
    if ready_at is None:
        raise NeverReady(name)
    await until(lambda: _is_idle(site), what="the model is idle again")
    return ColdStart(
        asked=asked,
        ordered_s=ordered_at - began_at,
        first_s=first_at - ready_at,
        whole_s=first_at - began_at,
        oldest_s=max(ages, default=0.0),
        comments=tuple(text for _, text in asker.comments),
    )


def _ordered(log: Path, *, after: float) -> tuple[str, float]:
    """Return which instance the agent ordered after a moment, and when Slurm had its job."""
    found = _SUBMITTED.findall(log.read_text(encoding="utf-8"))
    times = ((name, _seconds(stamp)) for stamp, name in found)
    return next((name, at) for name, at in times if at >= after and name.startswith("lab-cold"))


def _seconds(stamp: str) -> float:
    """Return a log's time, which is the host's local one, as seconds since the epoch."""
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


def _is_idle(site: SlurmSite) -> bool:
    alive = (*ACTIVE, InstanceState.DRAINING)
    return site.status() is not None and not site.instances(*alive, model=COLD)


async def _watch_age(stand: Stand, ages: list[float]) -> None:
    """Note again and again how old the site's state is that the gateway shows."""
    while True:
        found = _OBSERVED.search(await stand.running.gateway.metrics())
        if found is not None:
            ages.append(time.time() - float(found[1]))
        await asyncio.sleep(_AGE_EVERY_S)
