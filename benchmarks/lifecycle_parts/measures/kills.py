"""Processes killed with -9 under load, one at a time: what was lost, and how soon all is well."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lab.slurm_sites.site import SlurmSite
from lifecycle_parts import accidents
from lifecycle_parts.asked import End, Outcome
from lifecycle_parts.asking import Asker, Question, session
from lifecycle_parts.load import Mix, load
from lifecycle_parts.stand import FIRST, HOT, Stand
from lifecycle_parts.watching import LOOK_S, WITHIN_S, alone, jobs, ready, successor, until

#: So long all is well before, and after (seconds).
CALM_S = 3.0
_MIX = Mix(model=HOT)
_LINK = re.compile(r"^hotnode_agent_links\{.*\} 1\.0$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What came of it: `jobs` is how many the model has at the site when all is well again."""

    victim: str
    outcome: Outcome
    jobs: int
    recovered_s: float

    @property
    def hung(self) -> int:
        """How many requests took longer than any may."""
        return self.outcome.count(End.HUNG)


async def agent(stand: Stand) -> None:
    """Kill the site's agent, and wait for the next one."""
    site = stand.first
    before = _fence(site)
    accidents.kill_agent(site)
    await until(lambda: _fence(site) > before, what="another agent works")


async def instance_job(stand: Stand) -> None:
    """Kill the process of the job, with its relay, and wait for another instance."""
    site = stand.first
    old = await until(lambda: ready(site, HOT), what="an instance is ready")
    accidents.kill_instance_job(site, old)
    await until(lambda: successor(site, HOT, of=old.name), what="it is replaced")


async def engine(stand: Stand) -> None:
    """Kill an engine, and wait for another instance."""
    site = stand.first
    old = await until(lambda: ready(site, HOT), what="an instance is ready")
    accidents.kill_engine(site, old)
    await until(lambda: successor(site, HOT, of=old.name), what="it is replaced")


async def gateway(stand: Stand) -> None:
    """Kill the gateway, and wait until it is there and its sites are linked."""
    unit = stand.running.gateway.unit
    before = unit.starts
    accidents.kill_gateway(stand.running)
    await until(lambda: unit.starts > before, what="the gateway is started")
    await stand.running.gateway.answers(within_s=WITHIN_S)
    await _linked(stand, number=len(stand.running.sites))


async def endpoint(stand: Stand) -> None:
    """Kill the endpoint's agent, and wait until it and the site's agent are there again."""
    site = stand.first
    unit, starts, before = site.endpoint, site.endpoint.starts, _fence(site)
    accidents.kill_endpoint(site)
    await until(lambda: unit.starts > starts, what="the endpoint is started")
    await until(lambda: _fence(site) > before, what="another agent works")


VICTIMS: dict[str, Callable[[Stand], Awaitable[None]]] = {
    "site agent": agent,
    "instance job, relay": instance_job,
    "engine": engine,
    "gateway": gateway,
    "endpoint": endpoint,
}


async def kill(stand: Stand, victim: str, mix: Mix = _MIX) -> Killed:
    """Kill one process under load; all is well when the model answers and nothing is too much."""
    site = stand.first
    async with load(stand.running.base_url(FIRST), stand.token, mix) as callers:
        await asyncio.sleep(CALM_S)
        began = time.monotonic()
        await VICTIMS[victim](stand)
        await alone(site, HOT)
        await _answers(stand)
        recovered_s = time.monotonic() - began
        await asyncio.sleep(CALM_S)
        left = await jobs(site, HOT)
    return Killed(victim=victim, outcome=callers.outcome, jobs=left, recovered_s=recovered_s)


def _fence(site: SlurmSite) -> int:
    status = site.status()
    return status.agent.fence if status and status.agent else 0


async def _answers(stand: Stand) -> None:
    async with session(stand.token) as opened, asyncio.timeout(WITHIN_S):
        asker = Asker(opened, stand.running.base_url(FIRST))
        while (await asker.ask(Question(model=HOT))).end is not End.WHOLE:  # noqa: ASYNC110 # asking tells
            await asyncio.sleep(LOOK_S)


async def _linked(stand: Stand, *, number: int) -> None:
    """Wait until the gateway has a link of so many sites' agents."""
    async with asyncio.timeout(WITHIN_S):
        while len(_LINK.findall(await stand.running.gateway.metrics())) < number:  # noqa: ASYNC110 # likewise
            await asyncio.sleep(LOOK_S)
