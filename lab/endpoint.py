"""The real Globus Compute endpoint agent, run for the lab by the product's own command."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.processes import Command, output_of, running
from lab.stand_in import StandIn, clean_environment

NAME = "local"
REGISTER_WITHIN_S = 60.0
AGENT_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A running endpoint; `id` is what the service knows it by."""

    id: str
    folder: Path


async def register(lock: Path, globus: StandIn, *, client: str) -> None:
    """Register the cluster's functions and write their ids to `lock`."""
    command = Command(
        name="registering the functions",
        arguments=[sys.executable, "-m", "compute_functions.register", "--lock", str(lock)],
        log=lock.with_suffix(".log"),
        environment=globus.environment() | globus.client(client),
    )
    await output_of(command, within_s=REGISTER_WITHIN_S)


@asynccontextmanager
async def endpoint(
    folder: Path, globus: StandIn, *, client: str, lock: Path, site_dir: Path
) -> AsyncIterator[Endpoint]:
    """Run an endpoint beside the body, as the client that the gateway also uses for it."""

    async def agent(action: str, *options: str) -> str:
        command = Command(
            name=f"the endpoint's {action}",
            arguments=[
                *(sys.executable, "-m", "compute_functions.endpoint", action),
                *("--name", NAME, "--user-dir", str(folder), *options),
            ],
            log=folder / "agent.log",
            environment=globus.environment() | globus.client(client),
        )
        return await output_of(command, within_s=AGENT_WITHIN_S)

    await agent(
        "configure",
        *("--site-dir", str(site_dir), "--lock", str(lock)),
        *("--email", "operator@example.org", "--heartbeat-period", "5"),
    )
    async with running(_keeper(folder)):
        try:
            started = json.loads(await agent("start"))
            yield Endpoint(id=started["id"], folder=folder / NAME)
        finally:
            await asyncio.shield(agent("stop"))


def _keeper(folder: Path) -> Command:
    """Return what ends the agent if the lab is killed and cannot."""
    return Command(
        name="the endpoint's keeper",
        arguments=[sys.executable, "-m", "lab.keeper", str(folder / NAME / "daemon.pid")],
        log=folder / "keeper.log",
        environment=clean_environment(),
    )
