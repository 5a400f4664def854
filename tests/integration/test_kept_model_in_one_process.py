"""`serve` as one process keeps models as well, and the operator's command reaches the site."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lab.gateway import Gateway, gateway
from lab.stand_in import StandIn
from tests.support.eventually import eventually_so
from tests.support.kept_site import KEPT, free_port, until_enrolled, write_catalog
from tests.support.local_globus import LocalGlobus
from tests.support.relay_double import Dialler, echoing
from tests.support.relay_site import RelaySite
from tests.support.site_links import ScriptedAgent, instance

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The running gateway, Alice's connection to it, and the site that keeps a model for it."""

    gateway: Gateway
    client: aiohttp.ClientSession
    site: RelaySite
    port: int

    async def told(self, *words: str) -> str:
        """Say something of a model, as an operator does; return what the command answers."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "resource_server", "model", *words),
            env=self.gateway.process.command.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
        assert process.returncode == 0
        return said.decode().strip()

    async def ask(self) -> tuple[int, str]:
        """Return the status of a completion, and why it failed if it did."""
        body = {"model": KEPT, "messages": []}
        async with self.client.post("/v1/chat/completions", json=body) as response:
            answer = await response.json()
            return response.status, answer.get("error", {}).get("code", "")


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[Kept]:
    port = free_port()
    enrolled = RelaySite.enrolled()
    write_catalog(folder / "gateway" / "catalog", enrolled)
    async with LocalGlobus(folder / "globus") as globus:
        stand_in = StandIn(url=globus.url, folder=globus.state)
        token = await globus.token("alice@example.org")
        settings: dict[str, Any] = {"relay_port": str(port), "catalog_poll_s": "0.1"}
        async with (
            gateway(folder / "gateway", stand_in, **settings) as running,
            aiohttp.ClientSession(
                running.url, headers={"Authorization": f"Bearer {token}"}
            ) as client,
        ):
            await until_enrolled(port, enrolled)
            yield Kept(gateway=running, client=client, site=enrolled, port=port)


@asynccontextmanager
async def speaking(agent: ScriptedAgent) -> AsyncIterator[None]:
    """Have the agent report as a real one does: a hub takes one that is silent for gone."""

    async def speak() -> None:
        while True:
            await agent.observes()
            await asyncio.sleep(1)

    task = asyncio.create_task(speak())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.row("C-59")
async def test_operators_load_pin_and_disable_a_model(tmp_path: Path) -> None:
    async with (
        kept(tmp_path) as service,
        ScriptedAgent.dialled(service.port, service.site.agent_credential()) as agent,
        speaking(agent),
    ):

        async def until_kept(least: int, most: int) -> None:
            await agent.until(
                lambda: [(one.min, one.max) for one in agent.desired[-1].models] == [(least, most)]
            )

        await agent.until(lambda: agent.desired)
        await until_kept(0, 1)
        assert await service.told("load", KEPT) == f"{KEPT} at local: as its file says"
        await agent.until(lambda: agent.demands[-1].models[0].used_s is not None)
        said = await service.told("pin", KEPT, "--instances", "2")
        assert said == f"{KEPT} at local: pinned to 2"
        await until_kept(2, 2)
        said = await service.told("disable", KEPT, "--cluster", "local")
        assert said == f"{KEPT} at local: disabled"
        await until_kept(0, 0)

        async def unavailable() -> bool:
            return await service.ask() == (503, "model_unavailable")

        await eventually_so(unavailable)
        assert await service.told("enable", KEPT) == f"{KEPT} at local: as its file says"
        await until_kept(0, 1)


@pytest.mark.row("A-2", "C-60")
async def test_a_model_is_started_for_who_asks_for_it(tmp_path: Path) -> None:
    async with (
        kept(tmp_path) as service,
        ScriptedAgent.dialled(service.port, service.site.agent_credential()) as agent,
        Dialler.to(service.port) as dialler,
    ):
        await agent.until(lambda: agent.desired)
        await agent.observes()
        asked = asyncio.create_task(service.ask())
        await agent.until_wanted(1, model=KEPT)
        relay = await dialler.dial(service.site.credential(model=KEPT))
        await relay.hello()
        async with echoing(relay):
            await agent.observes(instance(model=KEPT))
            assert await asked == (200, "")
