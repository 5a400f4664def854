"""The links of the site's agent, one to each hub that the site has enrolled with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from yarl import URL

from compute_functions.contract import site_link
from compute_functions.relay.dialling import dialler
from compute_functions.relay.enrolment import CONNECT_PATH, Enrolment, key_file
from compute_functions.relay.supervision import kept_running
from compute_functions.relay.times import Times
from compute_functions.site import SiteDirectory
from compute_functions.site_agent.calls import Calls
from compute_functions.site_agent.credentials import AgentCredentials
from compute_functions.site_agent.site_link import Agent, SiteLink

#: A link that broke by a fault of its own begins again after this (seconds).
PAUSE_S = 5.0


def made(site: SiteDirectory, enrolment: Enrolment, agent: Agent, calls: Calls) -> list[SiteLink]:
    """Return the links, not yet opened; hubs have functions called by `calls`."""
    credentials = AgentCredentials(key_file(site), enrolment.cluster)
    return [
        SiteLink(address(hub), agent=agent, credentials=credentials, times=Times(), calls=calls)
        for hub in dict.fromkeys(enrolment.hubs)  # Two links to one hub would end each other.
    ]


def address(hub: str) -> URL:
    """Return where a hub takes agents, by the address that its relays dial."""
    url = URL(hub)
    # A gateway may stand below a path of its own.
    return url.with_path(url.path.removesuffix(CONNECT_PATH).rstrip("/") + site_link.PATH)


async def kept(links: Iterable[SiteLink], enrolment: Enrolment) -> None:
    """Keep all of them open until cancelled."""
    async with (
        dialler(
            Times(),
            enrolment.ca_file,
            protocol=site_link.SUBPROTOCOL,
            most_message=site_link.MOST_MESSAGE + 1,  # The library refuses messages of this size.
        ) as dials,
        asyncio.TaskGroup() as tasks,
    ):
        for link in links:
            work = partial(link.run, dials)
            tasks.create_task(kept_running(work, name="site link", pause_s=PAUSE_S))
