"""Served gateways before real engines with tiny models, and the clients that are run against them.

The first reaches its cluster by relay alone: real relays beside real engines dial it. The second,
at the base `tasks`, has Globus Compute alone, and a site without a way out: whole answers come, and
streams are made of them. Between it and the engines is the site's own function, but no Globus:
clients cannot tell.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace

import pytest
import pytest_asyncio

from lab import tones
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.remote_images import ImageRules, RemoteImages
from resource_server.adapters.transports import Transports
from resource_server.domain.catalog import (
    Catalog,
    Cluster,
    Modality,
    Model,
    Project,
    Transport,
)
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.services.limits import Limits
from tests.support.catalogs import cluster, members, model
from tests.support.certificates import make_authority
from tests.support.client_runs import Runs
from tests.support.engine import RunningEngine
from tests.support.eventually import eventually
from tests.support.gateway import served_gateway
from tests.support.image_host import ImageHost, answer
from tests.support.local_globus import LocalGlobus
from tests.support.pictures import data_url, png
from tests.support.relay_hub import RelayHub, relay_hub
from tests.support.shared_engines import Enrolments
from tests.support.site_backend import BackendAtSite

BASES = {
    "cluster": "/resource_server/local/vllm/v1",
    "federated": "/resource_server/v1",
    "v1": "/v1",
    "openai": "/openai/v1",
    "project": "/p/project-1/openai/v1",
}
#: The base URL of the gateway that has tasks alone; the routes do not know how requests travel.
TASKS = "tasks"
#: By the names that the clients' scripts use.
ROUTES = {
    "chat": (
        "chat/completions",
        "completions",
        "responses",
        "messages",
        "messages/count_tokens",
        "tokenize",
        "detokenize",
    ),
    "vision": ("chat/completions", "messages"),
    "speech": ("audio/transcriptions", "audio/translations"),
    "embeddings": ("embeddings",),
    "reranker": ("rerank",),
    "classifier": ("classify",),
}
ALIAS = "tiny"
PRIVATE = "private/chat"
NOBODY_S_GROUP = "94090000-0000-4000-8000-0000000000ff"
RED = png("red")
DIGITS = "4580"
#: An engine's first answer may have to wait for the others to start.
PATIENCE_S = 60


def relay_cluster(enrolments: Enrolments) -> Cluster:
    """Return the cluster whose site has enrolled; nothing else leads there."""
    key = enrolments.conformance.public_key
    return replace(
        cluster(), request_timeout_s=PATIENCE_S, relay_key=key, transports=(Transport.RELAY,)
    )


def catalog(at: Cluster, engines: Mapping[str, RunningEngine]) -> Catalog:
    """Return the engines' models at one cluster, a private one, and a project."""
    models: list[Model] = [
        model(
            found.model,
            f"local/{found.framework}",
            routes=ROUTES[name],
            aliases={ALIAS: {}} if name == "chat" else None,
            modalities=(Modality.IMAGE,) if name == "vision" else (),
        )
        for name, found in engines.items()
    ]
    private = model(PRIVATE, access=members(NOBODY_S_GROUP))
    return Catalog([at], [*models, private], [Project(name="project-1")])


@pytest.fixture(autouse=True)
def _at_site(at_site: None) -> None:
    """Have every test's requests find the engines."""


@pytest.fixture(scope="session")
def engines(
    ready_engine: RunningEngine,
    vision_engine: RunningEngine,
    whisper_engine: RunningEngine,
    embedding_engine: RunningEngine,
    reranker_engine: RunningEngine,
    classifier_engine: RunningEngine,
) -> dict[str, RunningEngine]:
    """Return running engines by the names that the clients' scripts use."""
    return {
        "chat": ready_engine,
        "vision": vision_engine,
        "speech": whisper_engine,
        "embeddings": embedding_engine,
        "reranker": reranker_engine,
        "classifier": classifier_engine,
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hub(
    enrolments: Enrolments, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RelayHub]:
    """Take the site's relays in, from before the engines start."""
    async with relay_hub(
        Catalog([relay_cluster(enrolments)]),
        tmp_path_factory.mktemp("hub"),
        port=enrolments.conformance.port,
    ) as opened:
        yield opened


async def dialled(hub: RelayHub, engines: Iterable[RunningEngine]) -> None:
    """Wait until the relay of every engine has dialled in."""
    places = [("local", found.framework, found.model) for found in engines]
    await eventually(lambda: all(hub.links.serves(place) for place in places), seconds=60)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def runs(
    hub: RelayHub,
    enrolments: Enrolments,
    engines: dict[str, RunningEngine],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Runs]:
    """Serve both gateways before the site, and run clients against them."""
    folder = tmp_path_factory.mktemp("clients")
    by_tasks = replace(cluster(), request_timeout_s=PATIENCE_S)
    await dialled(hub, engines.values())
    sound = folder / "keys.wav"
    await asyncio.to_thread(sound.write_bytes, tones.wav(DIGITS))
    authority = make_authority(folder, "images.test")
    async with (
        ImageHost(authority, {"/red.png": answer(RED)}) as host,
        RemoteImages(
            ImageRules(ports=(host.port,)),
            may_connect=lambda address: address == "127.0.0.1",
            look_up=lambda _, *rest: socket.getaddrinfo("127.0.0.1", *rest),
            tls=authority.client_context(),
        ) as images,
        LocalGlobus() as globus,
        Limits(MemoryLimitStore(), _rules) as limits,
        served_gateway(
            globus,
            catalog(relay_cluster(enrolments), engines),
            backend=Transports({Transport.RELAY: hub.backend}),
            images=images,
            limits=limits,
        ) as url,
        served_gateway(
            globus,
            catalog(by_tasks, engines),
            backend=Transports({Transport.TASK: BackendAtSite()}),
            images=images,
            limits=limits,
        ) as tasks_url,
    ):
        known = {name: found.model for name, found in engines.items()}
        offer = {
            "bases": {name: url + path for name, path in BASES.items()}
            | {TASKS: tasks_url + BASES["cluster"]},
            "key": await globus.token("alice@example.org"),
            "limited_key": await globus.token("bob@example.org"),
            "models": {**known, "alias": ALIAS, "private": PRIVATE},
            "picture": data_url(RED),
            "picture_url": host.url("/red.png"),
            "sound": str(sound),
        }
        yield Runs(offer, folder)


def _rules() -> LimitRules:
    return LimitRules(people={"bob@example.org": Allowance(requests_per_minute=1)})


@pytest.fixture(params=[*BASES, TASKS])
def base(request: pytest.FixtureRequest) -> str:
    """Return the name of each base URL in turn."""
    name: str = request.param
    return name
