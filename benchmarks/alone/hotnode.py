"""Hotnode's gateway as it is served, except for Globus: the engine is asked over HTTP.

Real: the front door, routes, token cache, policy, parsing, headers, and the log (to standard
error). Made for the benchmark: who answers for a token, the catalog's source, and the backend.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from serving import ENGINE_PATH, serve

from resource_server.adapters import log
from resource_server.config import Settings
from resource_server.domain.catalog import (
    Catalog,
    Cluster,
    Deployment,
    Framework,
    GlobusComputeTarget,
    Model,
    Transport,
)
from resource_server.domain.identity import Grant, Identity, Person
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest
from resource_server.domain.lifecycle import Observation
from resource_server.services.catalog import LiveCatalog
from resource_server.services.completions import Completions
from resource_server.services.gateway import Gateway
from resource_server.services.jobs import Jobs
from resource_server.services.models import Models
from resource_server.services.readiness import Readiness
from resource_server.services.tokens import Tokens
from resource_server.startup import configure_django, spare_the_collector


class EveryoneIsKnown:
    """An identity provider that answers at once; asked once, then the token cache answers."""

    async def identify(self, token: str, *, known: bool = False) -> Grant:
        """Return a grant that outlives the benchmark."""
        identity = Identity(
            id="5b1e7c2a-0000-4000-8000-000000000001",
            username="researcher@university.example",
            idp_id="5b1e7c2a-0000-4000-8000-000000000002",
            idp_name="University",
        )
        person = Person(
            primary=identity, name="A Researcher", email="researcher@university.example"
        )
        return Grant(person=person, expires_at=time.time() + 86_400)

    async def available(self) -> bool:
        """Say yes."""
        return True


class OneModel:
    """A catalog with one model, which never changes."""

    async def available(self) -> bool:
        """Say yes."""
        return True

    async def version(self) -> int:
        """Return the only version."""
        return 1

    async def sync(self) -> bool:
        """Find nothing new."""
        return False

    async def load(self) -> Catalog:
        """Return the catalog."""
        cluster = Cluster(
            name="local",
            description="",
            frameworks={"vllm": Framework(name="vllm")},
            transports=(Transport.TASK,),
            globus_compute=GlobusComputeTarget(client="local", endpoint_id="", functions={}),
            request_timeout_s=60.0,
        )
        model = Model(
            id="model",
            description="",
            owned_by="hotnode",
            created=0,
            deployments=(Deployment(cluster="local", framework="vllm"),),
            routes=("chat/completions",),
        )
        return Catalog([cluster], [model], version=1)


class OverHttp:
    """Carries requests straight to the engine, and knows of no instances."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def infer(self, cluster: Cluster, request: InferenceRequest) -> InferenceAnswer:
        """Return the engine's answer."""
        began = time.perf_counter()
        async with self._session.post(
            self._url, data=request.body, headers={"content-type": "application/json"}
        ) as answer:
            body = await answer.read()
        return InferenceAnswer(
            status=answer.status,
            body=body,
            content_type=answer.headers["content-type"],
            transport="http",
            hops=Hops(engine_s=time.perf_counter() - began),
        )

    async def observe(self, cluster: Cluster) -> Observation:
        """Report an empty site."""
        return Observation(observed_at=time.time())


@asynccontextmanager
async def open_gateway() -> AsyncIterator[Gateway]:
    """Open the services, as `resource_server.container.open_gateway` does."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        backend = OverHttp(session, f"http://127.0.0.1:{sys.argv[1]}{ENGINE_PATH}")
        identity, store = EveryoneIsKnown(), OneModel()
        catalog = LiveCatalog(store, store)
        await catalog.start()
        spare_the_collector()
        yield Gateway(
            catalog=catalog,
            completions=Completions(catalog.current, backend),
            jobs=Jobs(catalog.current, backend),
            models=Models(catalog.current),
            readiness=Readiness(store, identity),
            tokens=Tokens(identity, key=b"k" * 40, ttl_s=600.0),
        )


def main() -> None:
    """Serve until the process is told to stop."""
    log.configure("json")
    with TemporaryDirectory() as folder:
        client = Path(folder) / "client.json"
        client.write_text(json.dumps({"client_id": "client", "client_secret": "unused"}))
        settings = Settings(
            state_dir=Path(folder),
            secret_key="k" * 40,
            globus_client_file=client,
            globus_clients_dir=Path(folder),
        )
        configure_django(settings)
        from resource_server.asgi import FrontDoor  # noqa: PLC0415 - needs a configured Django

        serve(FrontDoor(open_gateway, max_body_bytes=settings.max_body_bytes), lifespan="on")


if __name__ == "__main__":
    main()
