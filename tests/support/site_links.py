"""A hub that takes sites' agents, and an agent that says what a test tells it to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import aiohttp

from compute_functions.contract import (
    AgentReport,
    Demand,
    DesiredState,
    Instance,
    InstanceState,
    JsonObject,
    ModelOutlook,
    SiteStatus,
    Stage,
    site_link,
)
from compute_functions.contract.site_calls import CallAnswer, Offer, SiteCall
from compute_functions.contract.site_link import Accepted, MessageKind, Said
from resource_server.adapters.redeemed_files import RedeemedFiles
from resource_server.adapters.relay import Gatekeeper, Links, RelayListener
from resource_server.adapters.relay.listener import ListenerTimes
from resource_server.adapters.relay.sessions import Sessions
from resource_server.adapters.site_link import SiteLinks
from resource_server.adapters.site_link.link import LinkTimes
from resource_server.domain.catalog import Catalog, Deployment
from resource_server.domain.upkeep import Upkeep
from resource_server.services.site_board import SiteBoard
from tests.support.catalogs import model
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite

#: A test waits so long for what must come.
PATIENCE_S = 20.0


def instance(  # noqa: PLR0913 - what tests set of it
    state: InstanceState = InstanceState.READY,
    *,
    model: str = MODEL,
    job_id: str = "7",
    stage: Stage | None = None,
    ready_at: float | None = None,
    ahead: int | None = None,
    reason: str = "",
    waiting: float | None = None,
) -> Instance:
    """Return one instance of a site."""
    return Instance(
        model=model,
        framework=FRAMEWORK,
        state=state,
        job_id=job_id,
        host="n1" if state is not InstanceState.QUEUED else "",
        started_at=time.time(),
        submitted_at=time.time(),
        stage=stage,
        ready_at=ready_at,
        ahead=ahead,
        reason=reason,
        waiting=waiting,
        walltime_s=3600.0,
        gpus=4,
    )


def status(
    *instances: Instance,
    outlooks: Iterable[ModelOutlook] = (),
    version: tuple[int, int] = (0, 0),
    observed_at: float | None = None,
) -> SiteStatus:
    """Return what a site's agent reports."""
    return SiteStatus(
        observed_at=time.time() if observed_at is None else observed_at,
        instances=instances,
        outlooks=tuple(outlooks),
        agent=AgentReport(
            host="login1",
            pid=1,
            fence=1,
            started_at=0.0,
            version="1",
            generation=version[0],
            revision=version[1],
        ),
    )


class ScriptedAgent:
    """A site's agent on the real link. It says nothing by itself; all that it heard is kept."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.accepted: list[Accepted] = []
        self.desired: list[DesiredState] = []
        self.demands: list[Demand] = []
        self.calls: list[SiteCall] = []
        self.close_code: int | None = None
        self._news = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    @asynccontextmanager
    async def dialled(cls, port: int, token: str) -> AsyncIterator[Self]:
        """Dial a hub on this machine; raises `WSServerHandshakeError` if it refuses."""
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"http://127.0.0.1:{port}{site_link.PATH}",
                headers={"Authorization": f"Bearer {token}"},
                protocols=(site_link.SUBPROTOCOL,),
                max_msg_size=0,
            ) as socket,
        ):
            agent = cls(socket)
            try:
                await agent.until(lambda: agent.accepted)
                yield agent
            finally:
                agent._hearing.cancel()
                await asyncio.wait({agent._hearing})

    async def observes(self, *instances: Instance, outlooks: Iterable[ModelOutlook] = ()) -> None:
        """Report that there is this, and nothing else."""
        version = self.desired[-1].version if self.desired else (0, 0)
        await self.says(status(*instances, outlooks=outlooks, version=version))

    async def offers(self, *functions: str) -> None:
        """Say which functions may be called."""
        await self.says(Offer(functions=functions), MessageKind.OFFER)

    async def called(self, count: int = 1) -> list[SiteCall]:
        """Wait for so many calls, and return all that have come."""
        await self.until(lambda: len(self.calls) >= count)
        return self.calls

    async def answers(self, call: SiteCall, wire: JsonObject) -> None:
        """Answer a call."""
        await self.says(CallAnswer(id=call.id, wire=wire), MessageKind.ANSWER)

    async def says(self, said: Said, kind: MessageKind = MessageKind.OBSERVED) -> None:
        """Send any message."""
        await self.socket.send_str(site_link.message(kind, said))

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait until something is so of what was heard."""
        async with asyncio.timeout(PATIENCE_S):
            while not happened():
                self._news.clear()
                await self._news.wait()

    def wanted(self, model: str = MODEL) -> tuple[int, int]:
        """Return how many requests wait and run, as last heard."""
        models = self.demands[-1].models if self.demands else ()
        found = [(one.waiting, one.running) for one in models if one.model == model]
        return found[0] if found else (0, 0)

    async def until_wanted(self, waiting: int, running: int = 0, *, model: str = MODEL) -> None:
        """Wait until the hub says that so many requests wait and run."""
        await self.until(lambda: self.wanted(model) == (waiting, running))

    async def closed(self) -> int | None:
        """Wait until the hub has ended the link; return the close code."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait({self._hearing})
        return self.socket.close_code

    async def _hear(self) -> None:
        async for message in self.socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            found = site_link.read(message.data)
            assert found is not None, message.data
            match found[1]:
                case Accepted() as accepted:
                    self.accepted.append(accepted)
                case DesiredState() as desired:
                    self.desired.append(desired)
                case Demand() as demand:
                    self.demands.append(demand)
                case SiteCall() as call:
                    self.calls.append(call)
            self._news.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteHub:
    """What tests ask of a hub that takes agents."""

    board: SiteBoard
    relays: Links
    agents: SiteLinks
    port: int

    @asynccontextmanager
    async def agent(self, site: RelaySite) -> AsyncIterator[ScriptedAgent]:
        """Have the site's agent linked during the block."""
        async with ScriptedAgent.dialled(self.port, site.agent_credential()) as agent:
            yield agent

    async def refusal(self, token: str) -> int:
        """Return the status with which the hub refuses a token."""
        try:
            async with ScriptedAgent.dialled(self.port, token):
                raise AssertionError("it was let in")
        except aiohttp.WSServerHandshakeError as refused:
            return refused.status


@asynccontextmanager
async def site_hub(
    catalog: Catalog | Callable[[], Catalog | None],
    folder: Path,
    *,
    board: SiteBoard | None = None,
    times: LinkTimes | None = None,
    session_s: float = 3600.0,
) -> AsyncIterator[SiteHub]:
    """Listen for agents, and for relays beside them."""
    current = catalog if callable(catalog) else lambda: catalog
    relays = Links()
    board = board or SiteBoard("hub-1", relays=relays)
    relays.changed = board.note_relay
    if (known := current()) is not None:
        board.take_catalog(known)
    gatekeeper = Gatekeeper(
        current, RedeemedFiles(folder / "redeemed"), Sessions(b"s" * 40, life_s=session_s)
    )
    agents = SiteLinks(board, gatekeeper, times=times, keep_s=0.05)
    async with (
        RelayListener(
            relays,
            gatekeeper,
            host="127.0.0.1",
            port=0,
            times=ListenerTimes(grace_s=0.2, keep_s=0.05),
            routes=agents.routes(),
        ) as listener,
        agents,
    ):
        yield SiteHub(board=board, relays=relays, agents=agents, port=listener.port)


def kept_catalog(site: RelaySite, *, version: int = 1, **upkeep: Any) -> Catalog:
    """Return a catalog in which the site keeps one model."""
    place = Deployment(
        cluster=site.cluster,
        framework=FRAMEWORK,
        upkeep=Upkeep(**({"gpus": 1, "walltime_s": 3600} | upkeep)),
    )
    kept = replace(model(MODEL), deployments=(place,))
    return Catalog([site.in_catalog()], [kept], version=version)
