"""Processes that are stopped, replaced by another one, and wake up: one acts."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from lab.processes import Child, running
from lab.slurm_sites.site import SlurmSite
from lifecycle_parts import accidents
from lifecycle_parts.stand import Stand
from lifecycle_parts.watching import WITHIN_S, until

_SECOND = "second-controller"


async def agent(stand: Stand) -> None:
    """Stop the site's agent until the gateway has had another one started, and wake it up."""
    site = stand.first
    holder = await until(site.agent, what="there is an agent")
    noted = _count(site, "agent_passive")
    with _stopped(holder.pid):
        await until(lambda: _fence(site) > holder.fence, what="another agent works")
    await until(lambda: _count(site, "agent_passive") > noted, what="it notices")


async def controller(stand: Stand) -> None:
    """Stop the controller until a second one has its lease, and wake it up."""
    gateway = stand.running.gateway
    async with _second_controller(stand) as second:
        began = gateway.log.stat().st_size
        with _stopped(accidents.process(stand.running, "controller")):
            await second.until(
                lambda: "controller_active" in _events(second.command.log), within_s=WITHIN_S
            )
        await until(
            lambda: gateway.events("controller_lost_its_lease", after=began), what="it notices"
        )
        began = gateway.log.stat().st_size
    await until(
        lambda: gateway.events("controller_active", after=began), what="the first one goes on"
    )


@asynccontextmanager
async def _second_controller(stand: Stand) -> AsyncIterator[Child]:
    """Run another controller on the same database and files, as a second host would."""
    gateway = stand.running.gateway
    folder = gateway.folder.parent / _SECOND
    command = dataclasses.replace(
        gateway.command,
        name="the second controller",
        arguments=[*gateway.command.arguments, "--role", "controller"],
        log=folder.with_suffix(".log"),
        environment={**gateway.command.environment, "HOTNODE_STATE_DIR": str(folder)},
    )
    command.log.unlink(missing_ok=True)
    async with running(command) as child:
        await child.until(
            lambda: command.log.exists() and "process_serves" in _events(command.log),
            within_s=WITHIN_S,
        )
        yield child


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Have a process do nothing during the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _fence(site: SlurmSite) -> int:
    holder = site.agent()
    return holder.fence if holder else 0


def _count(site: SlurmSite, event: str) -> int:
    return site.agent_log.read_text(encoding="utf-8").count(f" {event} ")


def _events(log: Path) -> set[str]:
    lines = log.read_text(encoding="utf-8").splitlines()
    return {json.loads(line)["event"] for line in lines if line.startswith("{")}
