"""A served gateway before an engine that streams, with its log and its metrics."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from structlog.testing import capture_logs

from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.domain.catalog import Catalog
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.ports import InferenceBackend
from resource_server.services.gateway import Gateway
from resource_server.services.limits import Limits
from tests.support.catalogs import cluster, model
from tests.support.doubles import IdentityProviderWithPeople, person
from tests.support.eventually import eventually
from tests.support.gateway import SiteThatReports, compose
from tests.support.raw_client import RawClient
from tests.support.served import served
from tests.support.watch import Scrape, Watch

MODEL = "open/chat"
ROUTES = (
    "audio/transcriptions",
    "chat/completions",
    "completions",
    "embeddings",
    "messages",
    "responses",
)
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """A running gateway that Alice may call, and what it logged."""

    port: int
    client: aiohttp.ClientSession
    events: list[MutableMapping[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def ask(
        self, route: str = "chat/completions", **body: object
    ) -> tuple[int, dict[str, str], bytes]:
        """Return the whole answer to Alice's request for a stream."""
        async with self.client.post(f"/v1/{route}", json=BODY | body) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return response.status, headers, await response.read()

    async def raw(self, **body: object) -> RawClient:
        """Return a connection on which Alice's request was sent."""
        content = json.dumps(BODY | body).encode()
        client = await RawClient.connect(self.port)
        await client.send(
            "POST /v1/chat/completions HTTP/1.1\nHost: localhost\nAuthorization: Bearer alice\n"
            f"Content-Type: application/json\nContent-Length: {len(content)}",
            content,
        )
        return client

    def lines(self) -> list[MutableMapping[str, Any]]:
        """Return the lines of all requests that are over, but those for metrics."""
        found = [event for event in self.events if event["event"] == "http_request"]
        return [line for line in found if line["path"] != "/metrics"]

    async def line(self) -> MutableMapping[str, Any]:
        """Return the line of the only request, when it is over."""
        await eventually(self.lines)
        return self.lines()[0]

    async def metrics(self) -> Scrape:
        """Read the page of metrics."""
        return await Scrape.of(self.url)


@asynccontextmanager
async def streaming_gateway(
    backend: InferenceBackend,
    *,
    name: str = MODEL,
    first_event_s: float = 10.0,
    keep_alive_s: float = 10.0,
    stall_timeout_s: float = 60.0,
    grace_s: int = 5,
) -> AsyncIterator[Streaming]:
    """Serve a model on every route that streams, and on one that does not."""
    from resource_server.asgi import FrontDoor

    allowance = Allowance(concurrent_requests=1000, tokens_per_minute=1_000_000)
    catalog = Catalog([cluster()], [model(name, routes=ROUTES)])
    async with Limits(MemoryLimitStore(), lambda: LimitRules(defaults=(allowance,))) as limits:

        @asynccontextmanager
        async def opened() -> AsyncIterator[Gateway]:
            gateway = compose(
                catalog,
                backend,
                SiteThatReports(),
                IdentityProviderWithPeople({"alice": person("alice@example.org")}),
                limits=limits,
                watch=Watch(),
                first_event_s=first_event_s,
            )
            await gateway.catalog.start()
            yield gateway

        with capture_logs() as events:
            door = FrontDoor(
                opened,
                max_body_bytes=100_000,
                max_upload_bytes=100_000,
                stall_timeout_s=stall_timeout_s,
                keep_alive_s=keep_alive_s,
            )
            headers = {"Authorization": "Bearer alice"}
            async with (
                served(door, lifespan="on", grace_s=grace_s) as port,
                aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as client,
            ):
                yield Streaming(port=port, client=client, events=events)
