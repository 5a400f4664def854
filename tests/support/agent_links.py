"""The agent's own end of a site link, dialled to a hub on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from yarl import URL

from compute_functions.contract import Demand, DesiredState, SiteStatus, site_link
from compute_functions.relay.dialling import dialler
from compute_functions.relay.times import Times
from compute_functions.site_agent.calls import Calls
from compute_functions.site_agent.credentials import AgentCredentials
from compute_functions.site_agent.site_link import SiteLink
from tests.support.relay_site import RelaySite


class AgentThatCalls:
    """Has nothing to observe unless a test says so, and counts what hubs wish."""

    def __init__(self) -> None:
        self.observation: SiteStatus | None = None
        self.wishes = 0

    def wish(self, said: DesiredState | Demand) -> None:
        self.wishes += 1


@asynccontextmanager
async def agent_link(
    port: int, site: RelaySite, folder: Path, calls: Calls
) -> AsyncIterator[tuple[AgentThatCalls, SiteLink]]:
    """Keep the site's agent linked to a hub during the block; it calls functions by `calls`."""
    key = folder / "agent.key"
    key.write_bytes(site.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    agent, times = AgentThatCalls(), Times(first_pause_s=0.05)
    link = SiteLink(
        URL(f"ws://127.0.0.1:{port}{site_link.PATH}"),
        agent=agent,
        credentials=AgentCredentials(key, site.cluster),
        times=times,
        calls=calls,
    )
    async with dialler(
        times, "", protocol=site_link.SUBPROTOCOL, most_message=site_link.MOST_MESSAGE + 1
    ) as dials:
        running = asyncio.create_task(link.run(dials))
        try:
            yield agent, link
        finally:
            running.cancel()
            await asyncio.wait({running})
