"""A gateway served for a test: real routes and token checks, before doubles of the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from compute_functions.contract import Instance
from resource_server.adapters.globus_auth import GlobusAuth
from resource_server.adapters.memory.grants import MemoryGrants
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.remote_images import RemoteImages
from resource_server.adapters.stored_files import StoredFiles
from resource_server.adapters.usage_reader import read_event_usage, read_usage
from resource_server.adapters.whole_streams import WholeStreamMaker
from resource_server.api.handler import STALL_TIMEOUT_S
from resource_server.api.streamed_body import STREAM_TIMEOUT_S
from resource_server.asgi import FrontDoor
from resource_server.domain.catalog import AccessRule, Catalog, Cluster
from resource_server.domain.files import FileRules
from resource_server.domain.lifecycle import Observation
from resource_server.domain.limit_rules import LimitRules
from resource_server.ports import (
    IdentityProvider,
    ImageSource,
    InferenceBackend,
    SiteObserver,
    SiteViews,
)
from resource_server.services.batches import Batches, BatchRules
from resource_server.services.catalog import LiveCatalog
from resource_server.services.completions import FIRST_EVENT_S, Completions, UsageReaders
from resource_server.services.entrance import Entrance
from resource_server.services.files import Files
from resource_server.services.gateway import Gateway
from resource_server.services.impasses import Impasses
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

#: Where no test stores a file.
NOWHERE = Path("/nonexistent")


class SiteThatReports:
    """Reports the same instances whenever it is asked."""

    def __init__(self, instances: Iterable[Instance] = ()) -> None:
        self.instances = tuple(instances)

    async def observe(self, cluster: Cluster) -> Observation:
        return Observation(
            observed_at=1_800_000_000.0,
            instances=tuple(one for one in self.instances if not one.purpose),
            for_batches=tuple(one for one in self.instances if one.purpose),
        )


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
    unreached_s: float = 60.0,
    disk: StoredFiles | None = None,
    file_rules: FileRules | None = None,
) -> Gateway:
    """Return the services around the parts given; the catalog still has to be started.

    Files and batches have their real tables, and need a database only when they are asked.
    """
    from resource_server.store.batches import BatchRows
    from resource_server.store.files import FileRows

    store = StoreThatHolds(catalog)
    limits = limits or Limits(MemoryLimitStore(), LimitRules)
    live = LiveCatalog(store)
    views = views or SiteBoard("alone")
    impasses = Impasses(longest_s=unreached_s)
    watch = watch or Watch()
    observer = watch.instrumentation.observer(watch.tracer)
    watch.instrumentation.watch_catalog(live)
    disk = disk or StoredFiles(NOWHERE)
    return Gateway(
        batches=Batches(
            live.current,
            BatchRows(),
            FileRows(),
            disk,
            views=views,
            salts=CacheSalts(b"k" * 32),
            rules=BatchRules(),
        ),
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
            waiting=Waiting(
                views, live.current, rules=wait_rules, times=wait_times, impasses=impasses
            ),
            observe_late=observer.late,
        ),
        files=Files(FileRows(), disk, rules=file_rules or FileRules()),
        jobs=Jobs(
            live.current,
            watch.instrumentation.sites(sites, live.current),
            views,
            impasses=impasses,
        ),
        limits=limits,
        models=Models(live.current, views, impasses),
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
    disk: StoredFiles | None = None,
    file_rules: FileRules | None = None,
    stall_timeout_s: float = STALL_TIMEOUT_S,
    streamed_timeout_s: float = STREAM_TIMEOUT_S,
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
                disk=disk,
                file_rules=file_rules,
            )
            await gateway.catalog.start()
            yield gateway

    door = FrontDoor(
        opened,
        max_body_bytes=max_body_bytes,
        max_upload_bytes=max_upload_bytes,
        stall_timeout_s=stall_timeout_s,
        streamed_timeout_s=streamed_timeout_s,
    )
    async with served(door, lifespan="on") as port:
        yield f"http://127.0.0.1:{port}"
