"""A process that serves HTTP: what it opens, and which service is made of what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from resource_server.adapters.globus_auth import GlobusAuth
from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.adapters.redis.connection import RedisLink
from resource_server.adapters.remote_images import RemoteImages
from resource_server.adapters.site_calls import CallsLater
from resource_server.adapters.usage_reader import read_event_usage, read_usage
from resource_server.adapters.whole_streams import WholeStreamMaker
from resource_server.config import Role, Settings
from resource_server.container.batches import make_batches, make_files
from resource_server.container.catalog import open_catalog
from resource_server.container.clusters import Clusters, open_clusters
from resource_server.container.controller import open_controller
from resource_server.container.images import open_images
from resource_server.container.limits import open_limits
from resource_server.container.observation import open_instrumentation, open_tracer
from resource_server.container.tokens import make_tokens, open_globus_auth, open_grants_link
from resource_server.ports import Part, RequestObserver
from resource_server.services.catalog import LiveCatalog
from resource_server.services.completions import Completions, UsageReaders
from resource_server.services.gateway import Gateway
from resource_server.services.impasses import Impasses
from resource_server.services.jobs import Jobs
from resource_server.services.limits import Limits
from resource_server.services.models import Models
from resource_server.services.readiness import Readiness
from resource_server.services.sessions import CacheSalts
from resource_server.services.waiting import Waiting, WaitRules
from resource_server.store.catalog import CatalogTables
from resource_server.store.database import close_database


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What the services are made of."""

    instrumentation: Instrumentation
    observer: RequestObserver
    store: CatalogTables
    redis: RedisLink | None
    limits: Limits
    identity: GlobusAuth
    clusters: Clusters
    images: RemoteImages
    catalog: LiveCatalog

    @property
    def shared_parts(self) -> Mapping[str, Part]:
        """What all processes of the gateway count on."""
        parts: dict[str, Part] = {"database": self.store, "globus_auth": self.identity}
        return parts | {"redis": self.redis} if self.redis else parts


@asynccontextmanager
async def open_gateway(settings: Settings, role: Role = Role.ALL) -> AsyncIterator[Gateway]:
    """Open everything the services need, and close it in the reverse order.

    A process that is the whole gateway is also hub and controller.
    """
    async with _opened(settings, role) as parts:
        current, instrumentation = parts.catalog.current, parts.instrumentation
        impasses = Impasses(longest_s=settings.wait_unreached_s)
        yield Gateway(
            batches=make_batches(settings, current, parts.clusters.views),
            catalog=parts.catalog,
            completions=Completions(
                current,
                parts.clusters.backend,
                limits=parts.limits,
                images=parts.images,
                usage=UsageReaders(answer=read_usage, event=read_event_usage),
                salts=CacheSalts(settings.read_secret_key().encode()),
                streams=WholeStreamMaker(),
                waiting=Waiting(
                    parts.clusters.views, current, rules=_wait_rules(settings), impasses=impasses
                ),
                observe_late=parts.observer.late,
            ),
            files=make_files(settings),
            limits=parts.limits,
            jobs=Jobs(
                current,
                instrumentation.sites(parts.clusters.sites, current),
                parts.clusters.views,
                impasses=impasses,
            ),
            models=Models(current, parts.clusters.views, impasses),
            readiness=Readiness(shared=parts.shared_parts, own=parts.clusters.parts),
            metrics=instrumentation.metrics(settings.read_metrics_token()),
            observer=parts.observer,
            tokens=make_tokens(
                settings,
                instrumentation.provider(parts.identity),
                redis=parts.redis,
                catalog=parts.catalog,
            ),
        )


def _wait_rules(settings: Settings) -> WaitRules:
    return WaitRules(
        most_per_model=settings.wait_most_per_model,
        most_per_person=settings.wait_most_per_person,
        most_bytes=settings.wait_most_bytes,
        most_bytes_per_person=settings.wait_most_bytes_per_person,
        longest_stream_s=settings.wait_stream_s,
    )


@asynccontextmanager
async def _opened(settings: Settings, role: Role) -> AsyncIterator[_Opened]:
    store, calls = CatalogTables(), CallsLater()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        instrumentation = await enter(open_instrumentation(settings, role))
        observer = instrumentation.observer(await enter(open_tracer(settings)))
        stack.push_async_callback(close_database)
        redis = await enter(open_grants_link(settings))
        limits = await enter(open_limits(settings))
        identity = await enter(open_globus_auth(settings))
        images = await enter(open_images(settings))
        if role is Role.ALL:
            await enter(open_controller(settings, calls, observer=instrumentation.batches()))
        catalog = await enter(open_catalog(settings, store))
        instrumentation.watch_catalog(catalog)
        clusters = await enter(open_clusters(settings, role, instrumentation, catalog))
        stack.enter_context(calls.going_by(clusters.calls))
        yield _Opened(
            instrumentation=instrumentation,
            observer=observer,
            store=store,
            redis=redis,
            limits=limits,
            identity=identity,
            clusters=clusters,
            images=images,
            catalog=catalog,
        )
