"""What can be killed or stopped: how, when all is well again, and what that may cost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lab.slurm_sites.site import SlurmSite
from lifecycle_parts import accidents
from lifecycle_parts.asked import End
from lifecycle_parts.measures import sleepers
from lifecycle_parts.stand import HOT, Stand
from lifecycle_parts.watching import LOOK_S, WITHIN_S, ready, successor, until

_LINK = re.compile(r"^hotnode_agent_links\{.*\} 1\.0$", re.MULTILINE)
#: Errors that say so; the second one says, too, that the request did not run.
_ERRORS = frozenset({End.HONEST, End.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A process: `killed` kills or stops it, and returns when one of its kind works again.

    `may` is how requests may end that are not whole; `replaces` is how many jobs may be submitted.
    """

    killed: Callable[[Stand], Awaitable[None]]
    may: frozenset[End] = frozenset()
    replaces: int = 0


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


async def endpoint(stand: Stand) -> None:
    """Kill the endpoint's agent, and wait until it and the site's agent are there again."""
    site = stand.first
    unit, starts, before = site.endpoint, site.endpoint.starts, _fence(site)
    accidents.kill_endpoint(site)
    await until(lambda: unit.starts > starts, what="the endpoint is started")
    await until(lambda: _fence(site) > before, what="another agent works")


async def web(stand: Stand) -> None:
    """Kill the web process that has the most callers, and wait for the next one."""
    await _replaced(stand, accidents.busiest_web(stand.running))


async def hub(stand: Stand) -> None:
    """Kill the hub, and wait until the sites are linked to the next one."""
    await _replaced(stand, "hub")
    await _linked(stand)


async def controller(stand: Stand) -> None:
    """Kill the controller, and wait until the next one has its lease."""
    gateway = stand.running.gateway
    began = gateway.log.stat().st_size
    await _replaced(stand, "controller")
    await until(
        lambda: gateway.events("controller_active", after=began), what="a controller is active"
    )


async def gateway(stand: Stand) -> None:
    """Kill the gateway's first process, with which all end, and wait for sites to be linked."""
    unit = stand.running.gateway.unit
    before = unit.starts
    accidents.kill_gateway(stand.running)
    await until(lambda: unit.starts > before, what="the gateway is started")
    await stand.running.gateway.answers(within_s=WITHIN_S)
    await _linked(stand)


#: An instance that dies within a minute counts as one that failed to start, and its successor is
#: ordered after a pause: so the engine comes late after the job.
VICTIMS: dict[str, Victim] = {
    "instance job, relay": Victim(killed=instance_job, may=_ERRORS, replaces=1),
    "web process": Victim(killed=web, may=frozenset({End.CUT})),
    "hub": Victim(killed=hub, may=_ERRORS),
    "controller": Victim(killed=controller),
    "controller, stopped": Victim(killed=sleepers.controller),
    "engine": Victim(killed=engine, may=_ERRORS, replaces=1),
    "site agent": Victim(killed=agent),
    "site agent, stopped": Victim(killed=sleepers.agent),
    "endpoint": Victim(killed=endpoint),
    "whole gateway": Victim(killed=gateway, may=_ERRORS | {End.CUT, End.UNREACHABLE}),
}


async def _replaced(stand: Stand, process: str) -> None:
    """Kill one of the gateway's processes, and wait until another one serves in its place."""
    gateway = stand.running.gateway
    began = gateway.log.stat().st_size
    accidents.kill_process(stand.running, process)
    await until(lambda: gateway.served(process, after=began), what=f"another {process} serves")


def _fence(site: SlurmSite) -> int:
    status = site.status()
    return status.agent.fence if status and status.agent else 0


async def _linked(stand: Stand) -> None:
    """Wait until the gateway has a link of every site's agent."""
    number = len(stand.running.sites)
    async with asyncio.timeout(WITHIN_S):
        while len(_LINK.findall(await stand.running.gateway.metrics())) < number:  # noqa: ASYNC110 # asking tells
            await asyncio.sleep(LOOK_S)
