"""A gateway served for a test: real routes and token checks, before doubles of the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from compute_functions.contract import Instance
from resource_server.adapters.globus_auth import GlobusAuth
from resource_server.adapters.memory.grants import MemoryGrants
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.remote_images import RemoteImages
from resource_server.adapters.usage_reader import read_event_usage, read_usage
from resource_server.adapters.whole_streams import WholeStreamMaker
from resource_server.asgi import FrontDoor
from resource_server.domain.catalog import AccessRule, Catalog, Cluster
from resource_server.domain.lifecycle import Observation
from resource_server.domain.limit_rules import LimitRules
from resource_server.ports import (
    IdentityProvider,
    ImageSource,
    InferenceBackend,
    SiteObserver,
    SiteViews,
)
from resource_server.services.catalog import LiveCatalog
from resource_server.services.completions import FIRST_EVENT_S, Completions, UsageReaders
from resource_server.services.entrance import Entrance
from resource_server.services.gateway import Gateway
from resource_server.services.jobs import Jobs
from resource_server.services.limits import Limits
from resource_server.services.models import Models
from resource_server.services.readiness import Readiness
from resource_server.services.sessions import CacheSalts
from resource_server.services.site_board import SiteBoard
from resource_server.services.tokens import Tokens
from resource_server.services.vigil import WaitTimes
from resource_server.services.waiting import Waiting, WaitRules
from tests.support.local_globus import GATEWAY_SCOPE, LocalGlobus
from tests.support.served import served
from tests.support.watch import Watch


class SiteThatReports:
    """Reports the same instances whenever it is asked."""

    def __init__(self, instances: Iterable[Instance] = ()) -> None:
        self.instances = tuple(instances)

    async def observe(self, cluster: Cluster) -> Observation:
        return Observation(observed_at=1_800_000_000.0, instances=self.instances)


class StoreThatHolds:
    """A catalog's store that holds one snapshot, and can be away."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.away = False

    async def available(self) -> bool:
        return not self.away

    async def version(self) -> int:
        return self.catalog.version

    async def load(self) -> Catalog:
        return self.catalog


def compose(  # noqa: PLR0913 - the parts that tests choose
    catalog: Catalog,
    backend: InferenceBackend,
    sites: SiteObserver,
    identity: IdentityProvider,
    images: ImageSource | None = None,
    *,
    limits: Limits | None = None,
    rule: AccessRule | None = None,
    ttl_s: float = 600,
    watch: Watch | None = None,
    first_event_s: float = FIRST_EVENT_S,
    views: SiteViews | None = None,
    wait_rules: WaitRules | None = None,
    wait_times: WaitTimes | None = None,
) -> Gateway:
    """Return the services around the parts given; the catalog still has to be started."""
    store = StoreThatHolds(catalog)
    limits = limits or Limits(MemoryLimitStore(), LimitRules)
    live = LiveCatalog(store)
    views = views or SiteBoard("alone")
    watch = watch or Watch()
    observer = watch.instrumentation.observer(watch.tracer)
    watch.instrumentation.watch_catalog(live)
    return Gateway(
        catalog=live,
        completions=Completions(
            live.current,
            backend,
            limits=limits,
            images=images or RemoteImages(),
            usage=UsageReaders(answer=read_usage, event=read_event_usage),
            salts=CacheSalts(b"k" * 32),
            streams=WholeStreamMaker(),
            first_event_s=first_event_s,
            waiting=Waiting(views, live.current, rules=wait_rules, times=wait_times),
            observe_late=observer.late,
        ),
        jobs=Jobs(live.current, watch.instrumentation.sites(sites, live.current), views),
        limits=limits,
        models=Models(live.current, views),
        readiness=Readiness(shared={"database": store, "globus_auth": identity}),
        metrics=watch.instrumentation.metrics(watch.token),
        observer=observer,
        tokens=Tokens(
            watch.instrumentation.provider(identity),
            entrance=Entrance(rule or AccessRule(), live.current),
            cache=MemoryGrants(),
            key=b"k" * 32,
            ttl_s=ttl_s,
        ),
    )


@asynccontextmanager
async def served_gateway(  # noqa: PLR0913 - the parts that tests choose
    globus: LocalGlobus,
    catalog: Catalog,
    *,
    backend: InferenceBackend,
    sites: SiteObserver | None = None,
    max_body_bytes: int = 10_000_000,
    max_upload_bytes: int = 26_500_000,
    rule: AccessRule | None = None,
    ttl_s: float = 600,
    images: ImageSource | None = None,
    limits: Limits | None = None,
    watch: Watch | None = None,
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
            gateway = compose(
                catalog,
                backend,
                sites or SiteThatReports(),
                identity,
                images,
                limits=limits,
                rule=rule,
                ttl_s=ttl_s,
                watch=watch,
            )
            await gateway.catalog.start()
            yield gateway

    door = FrontDoor(opened, max_body_bytes=max_body_bytes, max_upload_bytes=max_upload_bytes)
    async with served(door, lifespan="on") as port:
        yield f"http://127.0.0.1:{port}"
