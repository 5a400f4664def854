"""Hotnode's gateway as it is served, except for Globus: the engine is asked over HTTP.

Real: the front door, routes, token cache, policy, limits, parsing, headers, metrics, and the log
(to standard error). Made for the benchmark: who answers for a token, the catalog's source, and the
backend. With the argument `unwatched` there are no metrics; with `traced` every request is traced
as well, and the spans are refused by the engine.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from alone.serving import ENGINE_PATH, serve

from resource_server.adapters import log
from resource_server.adapters.memory.grants import MemoryGrants
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.adapters.remote_images import RemoteImages
from resource_server.adapters.stored_files import StoredFiles
from resource_server.adapters.tracing.exporter import open_tracer
from resource_server.adapters.tracing.requests import RequestTracer
from resource_server.adapters.usage_reader import read_event_usage, read_usage
from resource_server.adapters.whole_streams import WholeStreamMaker
from resource_server.config import Settings
from resource_server.domain import errors
from resource_server.domain.catalog import (
    AccessRule,
    Catalog,
    Cluster,
    Deployment,
    Framework,
    GlobusComputeTarget,
    Model,
    Transport,
)
from resource_server.domain.files import FileRules
from resource_server.domain.identity import Grant, Identity, Person
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest, Late
from resource_server.domain.lifecycle import Observation
from resource_server.domain.limit_rules import LimitRules
from resource_server.ports import AnswerStream, RequestObserver
from resource_server.services.batches import Batches, BatchRules
from resource_server.services.catalog import LiveCatalog
from resource_server.services.completions import Completions, UsageReaders
from resource_server.services.entrance import Entrance
from resource_server.services.files import Files
from resource_server.services.gateway import Gateway
from resource_server.services.jobs import Jobs
from resource_server.services.limits import Limits
from resource_server.services.models import Models
from resource_server.services.readiness import Readiness
from resource_server.services.sessions import CacheSalts
from resource_server.services.site_board import SiteBoard
from resource_server.services.tokens import Tokens
from resource_server.startup import configure_django, spare_the_collector


class EveryoneIsKnown:
    """An identity provider that answers at once; asked once, then the token cache answers."""

    async def identify(
        self, token: str, *, known: bool = False, policies: frozenset[str] = frozenset()
    ) -> Grant:
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

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
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

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> AnswerStream:
        """Bring answers in one piece alone: the load asks for no streams."""
        raise errors.StreamComesWhole

    async def observe(self, cluster: Cluster) -> Observation:
        """Report an empty site."""
        return Observation(observed_at=time.time())


@asynccontextmanager
async def open_observer() -> AsyncIterator[RequestObserver | None]:
    """Open what the second argument asks for."""
    match sys.argv[2:]:
        case ["unwatched"]:
            yield Instrumentation(counted=False).observer()
        case ["traced"]:
            collector = f"http://127.0.0.1:{sys.argv[1]}"
            async with open_tracer(collector, headers={}, sample_ratio=1.0) as tracer:
                yield Instrumentation().observer(RequestTracer(tracer))
        case _:
            yield Instrumentation().observer()


@asynccontextmanager
async def open_gateway() -> AsyncIterator[Gateway]:
    """Open the services, as `resource_server.container.open_gateway` does."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, AsyncExitStack() as stack:
        backend = OverHttp(session, f"http://127.0.0.1:{sys.argv[1]}{ENGINE_PATH}")
        identity, store = EveryoneIsKnown(), OneModel()
        catalog = LiveCatalog(store)
        await catalog.start()
        observer = await stack.enter_async_context(open_observer())
        rules = LimitRules()
        limits = await stack.enter_async_context(Limits(MemoryLimitStore(), lambda: rules))
        spare_the_collector()
        # Nobody asks this gateway for files or batches: their tables are never opened.
        from resource_server.store.batches import BatchRows  # noqa: PLC0415 - needs a configured Django
        from resource_server.store.files import FileRows  # noqa: PLC0415 - likewise

        disk = StoredFiles(Path("/nonexistent"))
        salts = CacheSalts(b"k" * 32)
        yield Gateway(
            batches=Batches(
                catalog.current,
                BatchRows(),
                FileRows(),
                disk,
                views=SiteBoard("alone"),
                rules=BatchRules(),
                salts=salts,
            ),
            files=Files(FileRows(), disk, rules=FileRules()),
            catalog=catalog,
            completions=Completions(
                catalog.current,
                backend,
                limits=limits,
                images=RemoteImages(),
                usage=UsageReaders(answer=read_usage, event=read_event_usage),
                salts=salts,
                streams=WholeStreamMaker(),
                observe_late=observer.late if observer else None,
            ),
            observer=observer,
            jobs=Jobs(catalog.current, backend),
            limits=limits,
            models=Models(catalog.current),
            readiness=Readiness(shared={"database": store, "globus_auth": identity}),
            tokens=Tokens(
                identity,
                entrance=Entrance(AccessRule(), catalog.current),
                cache=MemoryGrants(),
                key=b"k" * 40,
                ttl_s=600.0,
            ),
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

        door = FrontDoor(
            open_gateway,
            max_body_bytes=settings.max_body_bytes,
            max_upload_bytes=settings.max_upload_bytes,
        )
        serve(door, lifespan="on")


if __name__ == "__main__":
    main()
