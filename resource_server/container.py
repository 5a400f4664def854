"""The composition root: the one module that names concrete classes and opens them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from resource_server.adapters.catalog_spec import AccessSpec
from resource_server.adapters.globus_auth import GlobusAuth
from resource_server.adapters.globus_compute import GlobusComputeBackend, GlobusComputeSites
from resource_server.adapters.hub import HubBackend, HubConnection, HubServer, HubSites
from resource_server.adapters.limits_file import LimitsFile
from resource_server.adapters.memory.grants import MemoryGrants
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.metrics import files as metrics_files
from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.adapters.redis.connection import open_redis
from resource_server.adapters.redis.grants import RedisGrants
from resource_server.adapters.redis.limits import RedisLimitStore
from resource_server.adapters.remote_images import ImageRules, RemoteImages
from resource_server.adapters.usage_reader import read_usage
from resource_server.config import Role, Settings, read_client
from resource_server.domain.catalog import AccessRule
from resource_server.domain.limit_rules import Allowance
from resource_server.ports import (
    InferenceBackend,
    LimitStore,
    Part,
    RequestObserver,
    SiteObserver,
)
from resource_server.services.catalog import LiveCatalog
from resource_server.services.completions import Completions
from resource_server.services.controller import Controller
from resource_server.services.entrance import Entrance
from resource_server.services.gateway import Gateway
from resource_server.services.jobs import Jobs
from resource_server.services.limit_rules import LiveLimitRules
from resource_server.services.limits import Limits
from resource_server.services.models import Models
from resource_server.services.readiness import Readiness
from resource_server.services.shared_limits import SharedLimits
from resource_server.services.supervision import forever
from resource_server.services.tokens import Tokens
from resource_server.store.catalog import CatalogTables, YamlCatalog
from resource_server.store.database import close_database
from resource_server.store.lease import LeaseTable

#: A question to Globus keeps other processes from asking it for so much longer than its timeout
#: (seconds).
CLAIM_SPARE_S = 2.0
#: Seconds for Redis to answer about limits, and for a turn to ask it: longer than for tokens, since
#: what is not answered makes each worker count for itself, or refuse.
LIMITS_CALL_S = 2.0
LIMITS_TURN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compute:
    """The way to the clusters, and the parts of the gateway that must answer for it to be open."""

    backend: InferenceBackend
    sites: SiteObserver
    parts: dict[str, Part] = field(default_factory=dict)


@asynccontextmanager
async def open_gateway(settings: Settings, role: Role = Role.ALL) -> AsyncIterator[Gateway]:
    """Open everything the services need, and close it in the reverse order.

    A process that is the whole gateway is also hub and controller.
    """
    client = read_client(settings.globus_client_file)
    async with AsyncExitStack() as stack:
        instrumentation = await stack.enter_async_context(_open_instrumentation(settings, role))
        tracer = await stack.enter_async_context(_open_tracer(settings))
        observer = instrumentation.observer(tracer)
        stack.push_async_callback(close_database)
        url = settings.read_redis_url()
        redis = await stack.enter_async_context(open_redis(url, use="tokens")) if url else None
        limits = await stack.enter_async_context(_open_limits(settings, url))
        identity = await stack.enter_async_context(
            GlobusAuth(
                client_id=client.client_id,
                client_secret=client.client_secret.get_secret_value(),
                scope=settings.globus_scope or default_scope(client.client_id),
                timeout_s=settings.globus_timeout_s,
            )
        )
        compute = await stack.enter_async_context(
            _open_compute(settings, instrumentation)
            if role is Role.ALL
            else _open_way_to_hub(settings)
        )
        images = await stack.enter_async_context(RemoteImages(_image_rules(settings)))
        if role is Role.ALL:
            await stack.enter_async_context(open_controller(settings))
        store = CatalogTables()
        catalog = LiveCatalog(store)
        await catalog.start()
        instrumentation.watch_catalog(catalog)
        await stack.enter_async_context(
            _running(partial(catalog.follow, every_s=settings.catalog_poll_s), name="catalog")
        )
        yield Gateway(
            catalog=catalog,
            completions=Completions(
                catalog.current,
                compute.backend,
                limits=limits,
                images=images,
                read_usage=read_usage,
                observe_late=observer.late,
            ),
            jobs=Jobs(catalog.current, instrumentation.sites(compute.sites, catalog.current)),
            models=Models(catalog.current),
            readiness=Readiness(
                shared={
                    "database": store,
                    "globus_auth": identity,
                    **({"redis": redis} if redis else {}),
                },
                own=compute.parts,
            ),
            metrics=instrumentation.metrics(settings.read_metrics_token()),
            observer=observer,
            tokens=Tokens(
                instrumentation.provider(identity),
                entrance=Entrance(service_rule(settings), catalog.current),
                cache=RedisGrants(redis) if redis else MemoryGrants(),
                key=settings.read_secret_key().encode(),
                ttl_s=settings.token_cache_s,
                claim_ttl_s=settings.globus_timeout_s + CLAIM_SPARE_S,
            ),
        )


@asynccontextmanager
async def open_hub(settings: Settings) -> AsyncIterator[None]:
    """Serve the web processes of this host at the hub's socket."""
    async with (
        _open_instrumentation(settings, Role.HUB) as instrumentation,
        _open_compute(settings, instrumentation) as compute,
        HubServer(compute.backend, compute.sites, settings.hub_address),
    ):
        yield


@asynccontextmanager
async def open_controller(settings: Settings) -> AsyncIterator[None]:
    """Be the active controller, or wait to become it.

    Raises `CatalogInvalid` if the files hold mistakes and this is the active controller.
    """
    controller = Controller(
        LeaseTable(_process_name(), term_s=settings.controller_lease_s),
        YamlCatalog(settings.catalog_dir),
        term_s=settings.controller_lease_s,
        every_s=settings.catalog_poll_s,
    )
    await controller.start()
    async with _running(controller.run, name="controller"):
        yield


@asynccontextmanager
async def _open_instrumentation(settings: Settings, role: Role) -> AsyncIterator[Instrumentation]:
    """Begin to count; one process of several shares what it counts with the others."""
    if role is not Role.ALL:
        metrics_files.share(settings.state_dir / "metrics")
    instrumentation = Instrumentation()
    async with _running(instrumentation.run, name="metrics"):
        yield instrumentation


@asynccontextmanager
async def _open_tracer(settings: Settings) -> AsyncIterator[RequestObserver | None]:
    if not settings.otlp_endpoint:
        yield None
        return
    # Who makes no traces needs none of their libraries, and none of their memory.
    from resource_server.adapters.tracing.exporter import open_tracer  # noqa: PLC0415 - as said
    from resource_server.adapters.tracing.requests import RequestTracer  # noqa: PLC0415 - as said

    async with open_tracer(
        settings.otlp_endpoint,
        headers=settings.read_otlp_headers(),
        sample_ratio=settings.otlp_sample_ratio,
    ) as tracer:
        yield RequestTracer(tracer)


@asynccontextmanager
async def _open_compute(
    settings: Settings, instrumentation: Instrumentation
) -> AsyncIterator[_Compute]:
    async with GlobusComputeBackend(
        settings.globus_clients_dir, allowance=settings.globus_compute_allowance
    ) as backend:
        sites = GlobusComputeSites(backend, cache_s=settings.site_status_cache_s)
        instrumentation.watch_channels(backend.probe)
        yield _Compute(backend=backend, sites=sites)


@asynccontextmanager
async def _open_way_to_hub(settings: Settings) -> AsyncIterator[_Compute]:
    async with (
        HubConnection(settings.hub_address) as hub,
        HubBackend(hub) as backend,
    ):
        yield _Compute(backend=backend, sites=HubSites(hub), parts={"hub": hub})


def _process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def service_rule(settings: Settings) -> AccessRule:
    """Return who may use the service at all."""
    return AccessSpec(
        groups=settings.globus_groups,
        domains=settings.globus_domains,
        groups_by_domain=settings.globus_groups_by_domain,
        policies=settings.globus_policies,
        login_max_age_s=settings.login_max_age_s,
        service_accounts=settings.globus_service_accounts,
        domains_of=settings.globus_domains_of,
    ).to_domain()


def default_scope(client_id: str) -> str:
    """Return the scope that callers' tokens carry for the gateway's own Globus client."""
    return f"https://auth.globus.org/scopes/{client_id}/action_all"


@asynccontextmanager
async def _open_limits(settings: Settings, redis_url: str | None) -> AsyncIterator[Limits]:
    rules = LiveLimitRules(LimitsFile(settings.catalog_dir, everybody_s_limits(settings)))
    await rules.start()
    async with (
        _open_limit_store(redis_url) as store,
        _running(partial(rules.follow, every_s=settings.catalog_poll_s), name="limits"),
        Limits(store, rules.current) as limits,
    ):
        yield limits


@asynccontextmanager
async def _open_limit_store(redis_url: str | None) -> AsyncIterator[LimitStore]:
    own = MemoryLimitStore()
    if redis_url is None:
        yield own
        return
    # A link of its own, and a patient one: what strangers ask with invented tokens must not come
    # before what limits those who were let in.
    async with open_redis(
        redis_url, use="limits", call_s=LIMITS_CALL_S, turn_s=LIMITS_TURN_S
    ) as redis:
        yield SharedLimits(RedisLimitStore(redis), own)


def everybody_s_limits(settings: Settings) -> Allowance:
    """Return what one person may ask for where no file says something else."""
    return Allowance(
        requests_per_minute=settings.limit_requests_per_minute,
        requests_per_minute_per_key=settings.limit_requests_per_minute_per_key,
        tokens_per_minute=settings.limit_tokens_per_minute,
        tokens_per_minute_per_model=settings.limit_tokens_per_minute_per_model,
        concurrent_requests=settings.limit_concurrent_requests,
    )


def _image_rules(settings: Settings) -> ImageRules:
    return ImageRules(
        fetch=settings.images_fetch,
        max_image_bytes=settings.images_max_bytes,
        max_request_bytes=settings.images_max_request_bytes,
        max_images=settings.images_max_count,
        timeout_s=settings.images_timeout_s,
        hosts=settings.images_hosts,
        ports=settings.images_ports,
    )


@asynccontextmanager
async def _running(work: Callable[[], Awaitable[None]], *, name: str) -> AsyncIterator[None]:
    """Run a loop beside the body, begin it anew whenever it fails, and end it with the body."""
    task = asyncio.create_task(forever(name, work), name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
