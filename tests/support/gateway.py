"""A gateway served for a test: real routes and token checks, before doubles of the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from compute_functions.contract import Instance
from resource_server.adapters.globus_auth import GlobusAuth
from resource_server.asgi import FrontDoor
from resource_server.domain.catalog import (
    AccessRule,
    Catalog,
    Cluster,
    Deployment,
    Flag,
    Framework,
    GlobusComputeTarget,
    Model,
    Transport,
)
from resource_server.domain.lifecycle import Observation
from resource_server.ports import IdentityProvider, InferenceBackend, SiteObserver
from resource_server.services.catalog import LiveCatalog
from resource_server.services.completions import Completions
from resource_server.services.gateway import Gateway
from resource_server.services.jobs import Jobs
from resource_server.services.models import Models
from resource_server.services.readiness import Readiness
from resource_server.services.tokens import Tokens
from tests.support.local_globus import GATEWAY_SCOPE, LocalGlobus
from tests.support.served import served


class SiteThatReports:
    """Reports the same instances whenever it is asked."""

    def __init__(self, instances: Iterable[Instance] = ()) -> None:
        self.instances = tuple(instances)

    async def observe(self, cluster: Cluster) -> Observation:
        return Observation(observed_at=1_800_000_000.0, instances=self.instances)


class StoreThatHolds:
    """A catalog's store and source in one: it holds one snapshot, and can be away."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.away = False

    async def available(self) -> bool:
        return not self.away

    async def version(self) -> int:
        return self.catalog.version

    async def load(self) -> Catalog:
        return self.catalog

    async def sync(self) -> bool:
        return False


def cluster(name: str = "local", *, access: AccessRule | None = None) -> Cluster:
    """Return a cluster with one framework, `vllm`."""
    return Cluster(
        name=name,
        description="",
        frameworks={"vllm": Framework(name="vllm", reserved_fields=frozenset({"priority"}))},
        transports=(Transport.TASK,),
        globus_compute=GlobusComputeTarget(client=name, endpoint_id="e", functions={}),
        request_timeout_s=60,
        access=access or AccessRule(),
    )


def model(name: str, *clusters: str, access: AccessRule | None = None) -> Model:
    """Return a chat model served on the clusters named."""
    return Model(
        id=name,
        description="",
        owned_by=name.partition("/")[0],
        created=1_800_000_000,
        deployments=tuple(Deployment(cluster=c, framework="vllm") for c in clusters or ("local",)),
        routes=("chat/completions", "completions"),
        flags=frozenset({Flag.TOOLS}),
        context_length=2048,
        access=access or AccessRule(),
    )


def compose(
    catalog: Catalog, backend: InferenceBackend, sites: SiteObserver, identity: IdentityProvider
) -> Gateway:
    """Return the services around the parts given; the catalog still has to be started."""
    store = StoreThatHolds(catalog)
    live = LiveCatalog(store, store)
    return Gateway(
        catalog=live,
        completions=Completions(live.current, backend),
        jobs=Jobs(live.current, sites),
        models=Models(live.current),
        readiness=Readiness(store, identity),
        tokens=Tokens(identity, key=b"k" * 32, ttl_s=600),
    )


@asynccontextmanager
async def served_gateway(
    globus: LocalGlobus,
    catalog: Catalog,
    *,
    backend: InferenceBackend,
    sites: SiteObserver | None = None,
    max_body_bytes: int = 10_000_000,
) -> AsyncIterator[str]:
    """Serve a gateway whose people are those of a local Globus; yields its URL."""
    client_id, client_secret = globus.client_credentials("gateway")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Gateway]:
        async with GlobusAuth(
            client_id=client_id,
            client_secret=client_secret,
            scope=GATEWAY_SCOPE,
            auth_url=globus.auth_url,
            groups_url=globus.groups_url,
        ) as identity:
            gateway = compose(catalog, backend, sites or SiteThatReports(), identity)
            await gateway.catalog.start()
            yield gateway

    door = FrontDoor(opened, max_body_bytes=max_body_bytes)
    async with served(door, lifespan="on") as port:
        yield f"http://127.0.0.1:{port}"
