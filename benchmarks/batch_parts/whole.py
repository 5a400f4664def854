"""Hotnode whole: a person's command, gateway, agent, Slurm, an instance's job, and its runner.

vLLM with the tiny model runs in the job. A bare client on the same node asks it as well, by its
socket, so that both have the same engine.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
from lifecycle_parts.watching import ready, until

from batch_parts import bare, inputs
from batch_parts.stand import Engine
from batch_parts.turn import Turn
from lab.processes import Command, ProcessFailed, output_of
from lab.slurm_sites.model import KeptModel
from lab.slurm_sites.plan import Plan, SitePlan
from lab.slurm_sites.service import SlurmSites, slurm_sites
from lab.slurm_sites.site import SlurmSite

SITE, MODEL = "aspen", "lab/tiny"
PERSON = "alice@example.org"
#: Whose members may use the service; PERSON is one (local_globus/seed.yaml).
GROUP = "94090000-0000-4000-8000-000000000001"
#: vLLM on a busy machine takes minutes to start.
READY_WITHIN_S = 400.0
DONE_WITHIN_S = 600.0
_LIFECYCLE = {"gpus": 1, "min": 1, "max": 1, "walltime": 3600, "walltime_ratio": 0.9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """The best bare client, and Hotnode, before the same instance; one turn of each a round."""

    bare: Sequence[Turn]
    hotnode: Sequence[Turn]


async def turns(folder: Path, source: Path, *, widths: Sequence[int], rounds: int) -> Turns:
    """Run both in turn, each first in every other round."""
    model = KeptModel.tiny_chat(MODEL, (SITE,), _LIFECYCLE)
    plan = Plan(
        sites=(SitePlan(name=SITE, nodes=1, batches_for=(GROUP,)),),
        models=(replace(model, said={**model.said, "flags": ["B"]}),),
    )
    async with slurm_sites(folder / "lab", plan) as running:
        site = running.sites[SITE]
        await until(lambda: ready(site, MODEL), what="a ready instance", within_s=READY_WITHIN_S)
        token = await running.token_of(PERSON)
        bodies = inputs.bodies(source)
        engine = _engine(site)
        width = await bare.best_width(engine, bodies[: len(bodies) // 4], widths)
        fastest, hotnode = list[Turn](), list[Turn]()
        for number in range(rounds):
            if number % 2:
                hotnode.append(await _hotnode(running, source, token))
            fastest.append(await bare.turn(engine, bodies, width))
            if not number % 2:
                hotnode.append(await _hotnode(running, source, token))
        return Turns(bare=fastest, hotnode=hotnode)


def _engine(site: SlurmSite) -> Engine:
    instance = ready(site, MODEL)
    if instance is None:
        raise ProcessFailed(f"the instance of {MODEL} is gone")
    found = site.registration(instance.name)
    return Engine(
        url="http://engine",
        socket=Path(found.endpoint),
        key_file=Path(found.api_key_file),
        model=MODEL,
    )


async def _hotnode(running: SlurmSites, source: Path, token: str) -> Turn:
    """Submit as people do; the batch's own metrics say for how long lines were worked on."""
    url = f"{running.gateway.url}/v1"
    command = Command(
        name="the batch command",
        arguments=[
            *(sys.executable, "-P", "-m", "batch", "submit", str(source), "--quiet"),
            "--watch",
        ],
        log=running.folder / "submit.log",
        environment={**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": token},
    )
    began = time.monotonic()
    said = await output_of(command, within_s=DONE_WITHIN_S)
    whole_s = time.monotonic() - began
    metrics = await _metrics(url, token, said.splitlines()[0])
    return Turn(
        seconds=float(metrics["response_time"]),
        lines=int(metrics["num_responses"]),
        tokens=int(metrics["total_tokens"]),
        whole_s=whole_s,
    )


async def _metrics(url: str, token: str, batch_id: str) -> Mapping[str, float]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        asyncio.timeout(30.0),
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{url}/batches/{batch_id}/result") as answer,
    ):
        answer.raise_for_status()
        found: Mapping[str, float] = (await answer.json())["metrics"]
        return found
