"""A gateway whose clusters and models ask for all kinds of logins, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from compute_functions.contract import Instance, InstanceState
from resource_server.domain.catalog import AccessRule, Catalog, LoginPolicy
from tests.support.catalogs import cluster, members, model
from tests.support.doubles import BackendThatEchoes
from tests.support.gateway import SiteThatReports, served_gateway
from tests.support.local_globus import LocalGlobus

#: From local_globus/seed.yaml: Bob is active in the private group, Carol only invited.
USERS = "94090000-0000-4000-8000-000000000001"
PRIVATE_GROUP = "94090000-0000-4000-8000-000000000003"
HIGH_ASSURANCE = "90110000-0000-4000-8000-000000000002"
WEEKLY = "90110000-0000-4000-8000-000000000003"
SERVICE_ACCOUNT = "5e40ace0-0000-4000-8000-000000000001"
DAY_S = 86_400.0

MODELS = {
    "open": AccessRule(),
    "private": members(PRIVATE_GROUP),
    "daily": AccessRule(policies=(LoginPolicy(id=HIGH_ASSURANCE),)),
    "domestic": AccessRule(domains=frozenset({"example.org"})),
    "by-domain": AccessRule(
        groups_by_domain={
            "example.org": frozenset({PRIVATE_GROUP}),
            "*": frozenset({USERS}),
        }
    ),
    "robots": AccessRule(
        groups=frozenset({PRIVATE_GROUP}), service_accounts=frozenset({SERVICE_ACCOUNT})
    ),
}
CATALOG = Catalog(
    [
        cluster(),
        cluster("assured", access=AccessRule(policies=(LoginPolicy(id=HIGH_ASSURANCE),))),
    ],
    [model(name, access=rule) for name, rule in MODELS.items()]
    + [model("assured-chat", "assured")],
)
SERVICE = AccessRule(
    policies=(LoginPolicy(id=WEEKLY, max_age_s=7 * DAY_S),),
    service_accounts=frozenset({SERVICE_ACCOUNT}),
)


def chat(name: str, text: str = "hello") -> dict[str, Any]:
    """Return the body of a request."""
    return {"model": name, "messages": [{"role": "user", "content": text}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def error(self) -> dict[str, Any]:
        """The error in its envelope."""
        error: dict[str, Any] = self.body["error"]
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running gateway, its Globus and a client."""

    globus: LocalGlobus
    client: aiohttp.ClientSession

    async def get(self, path: str, token: str) -> Answer:
        """Ask below `/resource_server`."""
        return await self.send("GET", path, token)

    async def ask(self, name: str, token: str, *, at: str = "local") -> Answer:
        """Ask a model something."""
        return await self.send("POST", f"{at}/vllm/v1/chat/completions", token, json=chat(name))

    async def send(self, method: str, path: str, token: str, **body: Any) -> Answer:
        """Send a request below `/resource_server`."""
        headers = {"Authorization": f"Bearer {token}"}
        url = f"/resource_server/{path}"
        async with self.client.request(method, url, headers=headers, **body) as response:
            streamed = response.content_type == "text/event-stream"
            return Answer(
                status=response.status,
                headers=dict(response.headers),
                body=await (response.text() if streamed else response.json(content_type=None)),
            )

    async def usable(self, token: str) -> set[str]:
        """Return the models that answer somebody."""
        answers = {name: await self.ask(name, token) for name in MODELS}
        return {name for name, answer in answers.items() if answer.status == 200}

    async def listed(self, token: str) -> set[str]:
        """Return the models that somebody is shown."""
        answer = await self.get("local/vllm/v1/models", token)
        return {entry["id"] for entry in answer.body["data"]}


@asynccontextmanager
async def service_of(globus: LocalGlobus, **settings: Any) -> AsyncIterator[Service]:
    """Serve the catalog above; `settings` are those of `served_gateway`."""
    instances = [
        Instance(
            model=name,
            framework="vllm",
            state=InstanceState.READY,
            job_id=name,
            host="node1",
            started_at=1.0,
        )
        for name in MODELS
    ]
    values: dict[str, Any] = {"rule": SERVICE, "sites": SiteThatReports(instances)} | settings
    async with (
        served_gateway(globus, CATALOG, backend=BackendThatEchoes(), **values) as url,
        # Without aiohttp's own limit of 100 connections: people do not wait for one another.
        aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as client,
    ):
        yield Service(globus=globus, client=client)
