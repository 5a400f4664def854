"""Who is killed: what dies with it, and how. Nobody waits for its successor before the next one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lifecycle_parts import accidents

from batch_parts.deaths.trial import RunnerSeen, Trial
from compute_functions import processes
from lab import lifecycle_engine

_ENGINE = Path(lifecycle_engine.__file__).name
_JOB = "compute_functions.instance_job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """`kill` returns when it is dead; `ends_runner`: then another runner must come."""

    kill: Callable[[Trial, RunnerSeen], Awaitable[None]]
    ends_runner: bool = False


async def runner(trial: Trial, seen: RunnerSeen) -> None:
    """Kill the runner."""
    await _dead(trial, seen.pid)


async def engine(trial: Trial, seen: RunnerSeen) -> None:
    """Kill the engine that the runner asks."""
    await _dead(trial, *_on_node(trial, seen, _ENGINE))


async def instance_job(trial: Trial, seen: RunnerSeen) -> None:
    """Kill the job of the instance: its relay, its runner and its engine lose their parent."""
    await _dead(trial, *_on_node(trial, seen, _JOB, seen.instance))


async def node(trial: Trial, seen: RunnerSeen) -> None:
    """Cut the power of the runner's node. It is switched on again while the batch goes on."""
    cluster = trial.stand.site.cluster
    # Of the nodes no two are without power at any time.
    await asyncio.gather(*trial.repairs)
    await cluster.power_off(seen.host)
    trial.repairs.append(asyncio.create_task(cluster.power_on(seen.host)))


async def agent(trial: Trial, _: RunnerSeen) -> None:
    """Kill the site's agent, when there is one."""
    holder = await trial.until(trial.stand.site.agent, what="an agent")
    await _dead(trial, holder.pid)


async def endpoint(trial: Trial, _: RunnerSeen) -> None:
    """Kill the endpoint's agent."""
    unit = trial.stand.site.endpoint
    pid = await trial.until(lambda: unit.main_pid, what="an endpoint")
    await _dead(trial, pid)


async def gateway(trial: Trial, _: RunnerSeen) -> None:
    """Kill the gateway's first process, with which all end."""
    unit = trial.stand.running.gateway.unit
    pid = await trial.until(lambda: unit.main_pid, what="a gateway")
    await _dead(trial, pid)


def _part(name: str) -> Callable[[Trial, RunnerSeen], Awaitable[None]]:
    async def kill(trial: Trial, _: RunnerSeen) -> None:
        await _dead(trial, await trial.until(lambda: _served(trial, name), what=f"a {name}"))

    return kill


VICTIMS: dict[str, Victim] = {
    "runner": Victim(kill=runner, ends_runner=True),
    "engine": Victim(kill=engine, ends_runner=True),
    "instance job, relay": Victim(kill=instance_job, ends_runner=True),
    "node": Victim(kill=node, ends_runner=True),
    "site agent": Victim(kill=agent),
    "endpoint": Victim(kill=endpoint),
    "web process": Victim(kill=_part("web-1")),
    "hub": Victim(kill=_part("hub")),
    "controller": Victim(kill=_part("controller")),
    "whole gateway": Victim(kill=gateway),
}


def drawn(count: int, chance: random.Random, among: Sequence[str] = tuple(VICTIMS)) -> list[str]:
    """Return whom it hits, in this order: each kind once, and whomever beyond that."""
    found = [*among, *chance.choices(among, k=max(0, count - len(among)))]
    chance.shuffle(found)
    return found


def _on_node(trial: Trial, seen: RunnerSeen, *words: str) -> list[int]:
    found = accidents.processes_on(trial.stand.site, seen.host, *words)
    if not found:
        raise accidents.NotThere(f"{' '.join(words)} on {seen.host}")
    return found


def _served(trial: Trial, name: str) -> int | None:
    """Return the process of the gateway that serves under a name now."""
    found = trial.stand.running.gateway.served(name)
    return found[-1] if found and processes.started(found[-1]) is not None else None


async def _dead(trial: Trial, *pids: int) -> None:
    """Kill processes, and return when they are gone."""
    starts = {pid: processes.started(pid) for pid in pids}
    for pid, start in starts.items():
        if start is not None:
            os.kill(pid, signal.SIGKILL)

    def gone() -> bool:
        alive = (start is not None and processes.lives(pid, start) for pid, start in starts.items())
        return not any(alive)

    await trial.until(gone, what=f"the end of {sorted(starts)}")
