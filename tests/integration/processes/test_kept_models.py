"""`serve --workers 2`: a model is started for who waits in any web process, and a hub may die."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.eventually import eventually_so
from tests.support.gateway_processes import Processes
from tests.support.kept_site import KEPT, free_port, keep, until_enrolled
from tests.support.relay_double import Dialler, echoing
from tests.support.relay_site import RelaySite
from tests.support.site_links import ScriptedAgent, instance

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The running gateway, and the site that keeps a model for it."""

    running: Processes
    site: RelaySite
    port: int

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[ScriptedAgent]:
        """Have the site's agent linked, and its model known to be idle in every web process."""
        await until_enrolled(self.port, self.site)
        async with ScriptedAgent.dialled(self.port, self.site.agent_credential()) as agent:
            await agent.until(lambda: agent.desired and agent.desired[-1].models)
            await agent.observes()
            await eventually_so(self._idle_everywhere, seconds=60, every_s=0.1)
            yield agent

    async def _idle_everywhere(self) -> bool:
        # Each connection may reach another process.
        replies = [await self.running.describe(KEPT) for _ in range(10)]
        return all(reply.status == 200 and reply.body["state"] == "idle" for reply in replies)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept(processes: Processes) -> AsyncIterator[Kept]:
    site, port = RelaySite.enrolled(processes.site.cluster().name), free_port()
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        async with processes.served(Path(folder), relay_port=str(port)) as running:
            # The files of the gateway whose controller is active: they share a database.
            # By relay alone: a try by task takes seconds, in which nobody is seen to wait.
            keep(processes.gateway.catalog, site, transports=("relay",))
            yield Kept(running=running, site=site, port=port)


@pytest.mark.row("A-2", "A-15", "C-55")
async def test_who_waits_is_served_though_the_hub_dies(kept: Kept) -> None:
    async with kept.agent() as agent:
        waiting = [asyncio.create_task(kept.running.ask(KEPT, n=n)) for n in range(8)]
        await agent.until_wanted(8, model=KEPT)
        # One who leaves is counted no more, whichever process they had asked.
        waiting.pop().cancel()
        await agent.until_wanted(7, model=KEPT)
        await kept.running.kill("hub")
        await agent.closed()
    await until_enrolled(kept.port, kept.site)
    async with (
        ScriptedAgent.dialled(kept.port, kept.site.agent_credential()) as agent,
        Dialler.to(kept.port) as dialler,
    ):
        # The next hub learns of them from the web processes.
        await agent.until_wanted(7, model=KEPT)
        relay = await dialler.dial(kept.site.credential(model=KEPT))
        await relay.hello()
        async with echoing(relay):
            await agent.observes(instance(model=KEPT))
            replies = await asyncio.gather(*waiting)
        assert [reply.status for reply in replies] == [200] * 7
        assert [reply.body["n"] for reply in replies] == list(range(7))
        await agent.until_wanted(0, model=KEPT)


async def test_a_web_process_that_dies_takes_its_waiters_along(kept: Kept) -> None:
    async with kept.agent() as agent:
        waiting = [asyncio.create_task(kept.running.ask(KEPT, n=n)) for n in range(8)]
        await agent.until_wanted(8, model=KEPT)
        for name in ("web-1", "web-2"):
            os.kill(kept.running.pids(name)[-1], signal.SIGKILL)
        await agent.until_wanted(0, model=KEPT)
        assert {reply.status for reply in await asyncio.gather(*waiting)} == {0}
