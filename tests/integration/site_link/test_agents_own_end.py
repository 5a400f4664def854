"""The hub's end of a site link against the agent's own, over real WebSockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from yarl import URL

from compute_functions.contract import Demand, DesiredState, SiteStatus, site_link
from compute_functions.relay.dialling import Dialler
from compute_functions.relay.times import Times
from compute_functions.site_agent.credentials import AgentCredentials
from compute_functions.site_agent.site_link import SiteLink
from resource_server.domain.lifecycle import Reach
from tests.support.eventually import eventually
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite
from tests.support.site_links import SiteHub, instance, kept_catalog, site_hub, status

PLACE = ("local", FRAMEWORK, MODEL)


class AgentThatListens:
    """Keeps what hubs wish, and reports what a test sets."""

    def __init__(self) -> None:
        self.observation: SiteStatus | None = None
        self.desired: list[DesiredState] = []
        self.demands: list[Demand] = []

    def wish(self, said: DesiredState | Demand) -> None:
        if isinstance(said, Demand):
            self.demands.append(said)
        else:
            self.desired.append(said)


@asynccontextmanager
async def linked(
    hub: SiteHub, site: RelaySite, folder: Path
) -> AsyncIterator[tuple[AgentThatListens, SiteLink]]:
    """Run the agent's end of a link beside the body."""
    key = folder / "site.key"
    key.write_bytes(
        site.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    agent, times = AgentThatListens(), Times(first_pause_s=0.05)
    link = SiteLink(
        URL(f"ws://127.0.0.1:{hub.port}{site_link.PATH}"),
        agent=agent,
        credentials=AgentCredentials(key, site.cluster),
        times=times,
    )
    async with aiohttp.ClientSession() as session:
        dialler = Dialler(
            session,
            times,
            ssl.create_default_context(),
            protocol=site_link.SUBPROTOCOL,
            most_message=site_link.MOST_MESSAGE,
        )
        running = asyncio.create_task(link.run(dialler))
        try:
            yield agent, link
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest.mark.row("A-2")
async def test_each_hears_what_the_other_says(hub: SiteHub, site: RelaySite, tmp_path: Path):
    async with linked(hub, site, tmp_path) as (agent, link):
        await eventually(lambda: agent.desired)
        assert [one.model for one in agent.desired[-1].models] == [MODEL]
        with hub.board.waiting(PLACE):
            await eventually(
                lambda: agent.demands and [one.waiting for one in agent.demands[-1].models] == [1]
            )
        agent.observation = status(instance())
        link.tell()
        await eventually(lambda: hub.board.serves(PLACE))
        assert hub.board.view("local").reach is Reach.LINKED


async def test_a_hub_that_is_new_is_dialled_again_with_the_session(site: RelaySite, tmp_path: Path):
    catalog = kept_catalog(site)
    async with site_hub(catalog, tmp_path) as hub, linked(hub, site, tmp_path) as (agent, link):
        await eventually(lambda: link.is_open)
        heard = len(agent.desired)
        # Another process of the agent has linked, and ends at once: this one dials again.
        async with hub.agent(site):
            pass
        await eventually(lambda: len(agent.desired) > heard)
        await eventually(lambda: hub.board.is_linked("local"))
