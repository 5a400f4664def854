"""A served gateway under observation: its log, its metrics, and an engine that a test directs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from structlog.testing import capture_logs

from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest, Late, Stopped
from resource_server.services.gateway import Gateway
from tests.support.catalogs import cluster, model
from tests.support.doubles import BackendThatEchoes, IdentityProviderWithPeople, person
from tests.support.gateway import SiteThatReports, compose
from tests.support.served import served
from tests.support.watch import Scrape, Watch

ALICE = {"Authorization": "Bearer alice"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A running gateway, a client of it, and all that it logged."""

    url: str
    client: aiohttp.ClientSession
    backend: BackendThatEchoes
    events: list[MutableMapping[str, Any]] = field(default_factory=list)

    async def metrics(self) -> Scrape:
        """Read the page of metrics."""
        return await Scrape.of(self.url)

    def line(self) -> MutableMapping[str, Any]:
        """Return the line of the last request but those for metrics."""
        found = [e for e in self.events if e["event"] == "http_request"]
        return [line for line in found if line["path"] != "/metrics"][-1]


class BackendThatIsLate(BackendThatEchoes):
    """Keeps its callers waiting, and tells `late` what became of it once one has left."""

    def __init__(self, answer: InferenceAnswer | Stopped | None) -> None:
        super().__init__()
        self.answer = answer
        self.reached = asyncio.Event()

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self.reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            if late is not None:
                late(self.answer)
        raise AssertionError("nobody sets this event")


def late_answer() -> InferenceAnswer:
    """Return what an engine says to nobody."""
    return InferenceAnswer(
        status=200,
        body=b'{"usage": {"prompt_tokens": 5, "completion_tokens": 6}}',
        content_type="application/json",
        transport="task",
        hops=Hops(),
        task_id="task-1",
    )


@asynccontextmanager
async def watched_gateway(
    watch: Watch | None = None, backend: BackendThatEchoes | None = None
) -> AsyncIterator[Watched]:
    """Serve a gateway in which Alice may call `open/chat`, also as `chat`."""
    from resource_server.asgi import FrontDoor

    backend = backend or BackendThatEchoes()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Gateway]:
        gateway = compose(
            Catalog([cluster()], [model("open/chat", aliases={"chat": {}})], version=7),
            backend,
            SiteThatReports(),
            IdentityProviderWithPeople({"alice": person("alice@example.org")}),
            watch=watch,
        )
        await gateway.catalog.start()
        yield gateway

    with capture_logs() as events:
        door = FrontDoor(opened, max_body_bytes=100_000, max_upload_bytes=100_000)
        async with served(door, lifespan="on") as port:
            url = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession(url) as client:
                yield Watched(url=url, client=client, backend=backend, events=events)
