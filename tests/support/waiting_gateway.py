"""A served gateway whose one model a scripted agent starts, in one process or behind a hub."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
from structlog.testing import capture_logs

from resource_server.adapters.hub import (
    HubBackend,
    HubConnection,
    HubServer,
    HubSites,
    HubViews,
)
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.inference import InferenceAnswer, InferenceRequest, Late
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.ports import InferenceBackend, SiteObserver, SiteViews
from resource_server.services.counted_backend import CountedBackend
from resource_server.services.gateway import Gateway
from resource_server.services.limits import Limits
from resource_server.services.observed_sites import ObservedSites
from resource_server.services.site_board import SiteBoard
from resource_server.services.vigil import WaitTimes
from resource_server.services.waiting import WaitRules
from tests.support.doubles import IdentityProviderWithPeople, person
from tests.support.eventually import eventually_so
from tests.support.gateway import SiteThatReports, compose
from tests.support.relay_site import MODEL, RelaySite
from tests.support.served import served
from tests.support.site_links import ScriptedAgent, SiteHub, instance, kept_catalog, site_hub
from tests.support.streams import BackendThatStreams, PacedStream
from tests.support.watch import Scrape, Watch

_CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
_WHOLE = _CHUNK | {"object": "chat.completion"}


def _event(delta: dict[str, str], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: %b\n\n" % json.dumps(_CHUNK | {"choices": [choice]}).encode()


EVENTS = (
    _event({"role": "assistant", "content": "Oslo"}, None),
    _event({}, "stop"),
    b"data: [DONE]\n\n",
)
WHOLE = json.dumps(
    _WHOLE
    | {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Oslo"},
                "finish_reason": "stop",
            }
        ]
    }
).encode()


class BackendThatIsLoaded(BackendThatStreams):
    """Answers once its model is `loaded`, and says before that it does not run."""

    def __init__(self) -> None:
        super().__init__(*EVENTS)
        self.loaded = False
        self.refused = 0

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self._require_loaded()
        return replace(await super().infer(cluster, request, late=late), body=WHOLE)

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> PacedStream:
        self._require_loaded()
        return await super().stream(cluster, request)

    def _require_loaded(self) -> None:
        if not self.loaded:
            self.refused += 1
            raise errors.ModelNotRunning


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """The running gateway, its hub, its engine, and Alice's and Bob's connections to it."""

    url: str
    hub: SiteHub
    site: RelaySite
    backend: BackendThatIsLoaded
    clients: dict[str, aiohttp.ClientSession]
    events: list[MutableMapping[str, Any]] = field(default_factory=list)

    @property
    def client(self) -> aiohttp.ClientSession:
        """Alice's connection."""
        return self.clients["alice"]

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[ScriptedAgent]:
        """Have the site's agent linked, and known to be everywhere."""
        async with self.hub.agent(self.site) as agent:
            await agent.observes()
            await self.seen_as("idle")
            yield agent

    async def load(self, agent: ScriptedAgent) -> None:
        """Have an instance become ready."""
        self.backend.loaded = True
        await agent.observes(instance())

    async def model(self) -> dict[str, Any]:
        """Return how the list of models shows the model."""
        async with self.client.get("/v1/models") as response:
            (found,) = (await response.json())["data"]
            return dict(found)

    async def seen_as(self, state: str | None) -> dict[str, Any]:
        """Wait until the gateway shows the model in this state."""
        found: list[dict[str, Any]] = []

        async def is_so() -> bool:
            found.append(await self.model())
            return bool(found[-1]["state"] == state)

        await eventually_so(is_so)
        return found[-1]

    def lines(self) -> list[MutableMapping[str, Any]]:
        """Return the lines of all requests to engines that are over."""
        return [event for event in self.events if event.get("operation")]

    async def metrics(self) -> Scrape:
        """Read the page of metrics."""
        return await Scrape.of(self.url)


@asynccontextmanager
async def waiting_gateway(  # noqa: PLR0913 - what tests choose
    folder: Path,
    *,
    behind_hub: bool = False,
    rules: WaitRules | None = None,
    times: WaitTimes | None = None,
    unreached_s: float = 60.0,
    keep_alive_s: float = 10.0,
    change: Callable[[Catalog], Catalog] = lambda catalog: catalog,
) -> AsyncIterator[Waited]:
    """Serve a model that the site keeps, and nobody has started yet."""
    from resource_server.asgi import FrontDoor

    site, backend = RelaySite.enrolled(), BackendThatIsLoaded()
    catalog = change(kept_catalog(site))
    allowance = Allowance(concurrent_requests=1000, tokens_per_minute=1_000_000)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        hub = await enter(site_hub(catalog, folder))
        carrier, views, sites = await enter(_way(hub.board, backend, behind_hub=behind_hub))
        limits = await enter(Limits(MemoryLimitStore(), lambda: LimitRules(defaults=(allowance,))))
        watch = Watch()
        watch.instrumentation.watch_board(hub.board)

        @asynccontextmanager
        async def opened() -> AsyncIterator[Gateway]:
            gateway = compose(
                catalog,
                carrier,
                sites,
                IdentityProviderWithPeople(
                    {name: person(f"{name}@example.org") for name in ("alice", "bob")}
                ),
                limits=limits,
                watch=watch,
                views=views,
                wait_rules=rules,
                wait_times=times or WaitTimes(again_s=0.05),
                unreached_s=unreached_s,
            )
            await gateway.catalog.start()
            yield gateway

        events = stack.enter_context(capture_logs())
        door = FrontDoor(
            opened, max_body_bytes=100_000, max_upload_bytes=100_000, keep_alive_s=keep_alive_s
        )
        url = f"http://127.0.0.1:{await enter(served(door, lifespan='on'))}"
        clients = {
            name: await enter(
                aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {name}"})
            )
            for name in ("alice", "bob")
        }
        yield Waited(url=url, hub=hub, site=site, backend=backend, clients=clients, events=events)


@asynccontextmanager
async def _way(
    board: SiteBoard, backend: InferenceBackend, *, behind_hub: bool
) -> AsyncIterator[tuple[InferenceBackend, SiteViews, SiteObserver]]:
    """Yield the way to the site as one process has it, or as one has that goes through a hub."""
    counted = CountedBackend(backend, board.demand)
    sites = ObservedSites(board, SiteThatReports())
    if not behind_hub:
        yield counted, board, sites
        return
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        address = Path(folder) / "run" / "hub.sock"
        async with (
            HubServer(counted, sites, address, board=board, grace_s=0.2),
            HubConnection(address) as connection,
            HubBackend(connection) as through,
            HubViews(connection, again_after_s=0.05) as views,
        ):
            yield through, views, HubSites(connection)
