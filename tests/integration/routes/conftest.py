"""A gateway with open and private models, people who call it, and an engine that echoes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio

from compute_functions.contract import FOR_BATCHES, Instance, InstanceState
from resource_server.domain.catalog import AccessRule, Catalog
from tests.support.catalogs import cluster, members, model
from tests.support.doubles import BackendThatEchoes
from tests.support.gateway import SiteThatReports, served_gateway
from tests.support.local_globus import LocalGlobus

#: Bob is a member, Alice is not (local_globus/seed.yaml).
PRIVATE_GROUP = "94090000-0000-4000-8000-000000000003"
ADMINS = "94090000-0000-4000-8000-000000000002"
MAX_BODY_BYTES = 2_000_000

CATALOG = Catalog(
    [
        cluster(),
        cluster("closed", access=members(PRIVATE_GROUP)),
        cluster("domestic", access=AccessRule(domains=frozenset({"example.org"}))),
    ],
    [
        model("open/chat", "local", "closed", "domestic"),
        model("private/chat", access=members(PRIVATE_GROUP)),
    ],
)


def instance(name: str, state: InstanceState = InstanceState.READY, purpose: str = "") -> Instance:
    """Return one instance of a model."""
    return Instance(
        model=name,
        framework="vllm",
        state=state,
        job_id=f"job-{name}",
        host="node1",
        started_at=1_800_000_000.0,
        purpose=purpose,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running gateway, clients of it for some people, and the engine behind it."""

    url: str
    globus: LocalGlobus
    tokens: dict[str, str]
    backend: BackendThatEchoes
    client: aiohttp.ClientSession

    def headers(self, person: str) -> dict[str, str]:
        """Return the headers with which a person calls."""
        return {"Authorization": f"Bearer {self.tokens[person]}"}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def people() -> AsyncIterator[tuple[LocalGlobus, dict[str, str]]]:
    """Yield a local Globus and tokens of its people by first name."""
    names = {
        "alice": "alice@example.org",
        "bob": "bob@example.org",
        "eve": "eve@evil.example",
    }
    async with LocalGlobus() as globus:
        yield globus, {name: await globus.token(username) for name, username in names.items()}


@pytest.fixture
def catalog() -> Catalog:
    """Return what is served; a module may have another one."""
    return CATALOG


@pytest.fixture
def backend() -> BackendThatEchoes:
    """Return the engine behind the gateway; a module may have another one."""
    return BackendThatEchoes()


@pytest.fixture
async def service(
    people: tuple[LocalGlobus, dict[str, str]], catalog: Catalog, backend: BackendThatEchoes
) -> AsyncIterator[Service]:
    """Serve the catalog."""
    globus, tokens = people
    sites = SiteThatReports(
        [
            instance("open/chat"),
            instance("open/chat", InstanceState.QUEUED),
            instance("open/chat", InstanceState.FAILED),
            instance("private/chat", InstanceState.STARTING),
            *(instance("open/chat", state, FOR_BATCHES) for state in InstanceState),
            instance("private/chat", purpose=FOR_BATCHES),
        ]
    )
    async with (
        served_gateway(
            globus, catalog, backend=backend, sites=sites, max_body_bytes=MAX_BODY_BYTES
        ) as url,
        aiohttp.ClientSession(url) as client,
    ):
        yield Service(url=url, globus=globus, tokens=tokens, backend=backend, client=client)
