"""Looks at a site again and again: waits for what shall come, counts how long nothing served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from compute_functions.contract import Instance, InstanceState
from lab.slurm.client import ENDED as _OVER
from lab.slurm_sites.site import SlurmSite

T = TypeVar("T")
LOOK_S = 0.05
#: Waits end with an error after so long (seconds); on a slow machine everything takes longer.
WITHIN_S = 120.0
#: A job that is cleaned up after runs no more, and may take its time on a node that is gone.
ENDED = _OVER | {"COMPLETING"}
_READY = (InstanceState.READY,)
ACTIVE = (InstanceState.QUEUED, InstanceState.STARTING, InstanceState.READY)


async def until(found: Callable[[], T | None], *, what: str, within_s: float = WITHIN_S) -> T:
    """Wait until there is something, and return it; raises `TimeoutError`."""
    try:
        async with asyncio.timeout(within_s):
            while not (value := found()):  # noqa: ASYNC110 # files are all that tells
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {within_s:g} s") from None
    return value


def ready(site: SlurmSite, model: str) -> Instance | None:
    """Return an instance that is ready, the youngest of several."""
    found = site.instances(InstanceState.READY, model=model)
    return found[-1] if found else None


def successor(site: SlurmSite, model: str, *, of: str) -> Instance | None:
    """Return a ready instance that is another than this one."""
    found = site.instances(InstanceState.READY, model=model)
    return next((one for one in found if one.name != of), None)


def gone(site: SlurmSite, instance: str) -> bool:
    """Tell whether an instance holds no job any more, as the site's agent sees it."""
    alive = (*ACTIVE, InstanceState.DRAINING)
    return site.status() is not None and all(one.name != instance for one in site.instances(*alive))


async def jobs(site: SlurmSite, model: str) -> int:
    """Return how many jobs of a model Slurm has."""
    name = f"hotnode-{model.replace('/', '-')}"
    found = await site.cluster.jobs()
    return sum(one.name == name and one.state not in ENDED for one in found)


async def alone(site: SlurmSite, model: str, *, number: int = 1) -> None:
    """Wait until as many instances are ready as there are jobs: so many, and no more."""
    try:
        async with asyncio.timeout(WITHIN_S):
            while not _has(site, model, number) or await jobs(site, model) != number:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        there = [f"{one.name} {one.state}" for one in site.instances(model=model)]
        raise TimeoutError(f"{site.name} has not {number} of {model}, but {there}") from None


def _has(site: SlurmSite, model: str, number: int) -> bool:
    """Tell whether so many instances are ready at a site, and no other is on its way."""
    counts = [len(site.instances(*states, model=model)) for states in (ACTIVE, _READY)]
    return site.status() is not None and counts == [number, number]


@dataclass(slots=True)
class Gap:
    """How long no instance was ready (seconds), as the instances' own files tell."""

    seconds: float = 0.0


@asynccontextmanager
async def gap(site: SlurmSite, model: str) -> AsyncIterator[Gap]:
    """Count beside the body how long a model has no instance that is ready."""
    counted = Gap()
    watching = asyncio.create_task(_count(site, model, counted))
    try:
        yield counted
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    if not watching.cancelled():
        watching.result()


async def _count(site: SlurmSite, model: str, counted: Gap) -> None:
    before = time.monotonic()
    while True:
        served = await asyncio.to_thread(ready, site, model)
        now = time.monotonic()
        if served is None:
            counted.seconds += now - before
        before = now
        await asyncio.sleep(LOOK_S)
