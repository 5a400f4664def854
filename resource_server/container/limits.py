"""What one person may ask for, and where it is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from resource_server.adapters.limits_file import LimitsFile
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.redis.connection import open_redis
from resource_server.adapters.redis.limits import RedisLimitStore
from resource_server.config import Settings
from resource_server.container.background import running
from resource_server.domain.limit_rules import Allowance
from resource_server.ports import LimitStore
from resource_server.services.limit_rules import LiveLimitRules
from resource_server.services.limits import Limits, Settle
from resource_server.services.shared_limits import SharedLimits

#: Seconds for Redis to answer about limits, and for a turn to ask it: longer than for tokens, since
#: what is not answered makes each worker count for itself, or refuse.
CALL_S = 2.0
TURN_S = 5.0


@asynccontextmanager
async def open_limits(settings: Settings) -> AsyncIterator[Limits]:
    """Read the rules, follow them, and count."""
    rules = LiveLimitRules(LimitsFile(settings.catalog_dir, _everybody_s(settings)))
    await rules.start()
    async with (
        _open_store(settings.read_redis_url()) as (store, settle_now),
        running(partial(rules.follow, every_s=settings.catalog_poll_s), name="limits"),
        Limits(store, rules.current, settle_now=settle_now) as limits,
    ):
        yield limits


@asynccontextmanager
async def _open_store(redis_url: str | None) -> AsyncIterator[tuple[LimitStore, Settle | None]]:
    own = MemoryLimitStore()
    if redis_url is None:
        yield own, own.settle_now
        return
    # A link of its own, and a patient one: what strangers ask with invented tokens must not come
    # before what limits those who were let in.
    async with open_redis(redis_url, use="limits", call_s=CALL_S, turn_s=TURN_S) as redis:
        yield SharedLimits(RedisLimitStore(redis), own), None


def _everybody_s(settings: Settings) -> Allowance:
    """Return what one person may ask for where no file says something else."""
    return Allowance(
        requests_per_minute=settings.limit_requests_per_minute,
        requests_per_minute_per_key=settings.limit_requests_per_minute_per_key,
        tokens_per_minute=settings.limit_tokens_per_minute,
        tokens_per_minute_per_model=settings.limit_tokens_per_minute_per_model,
        concurrent_requests=settings.limit_concurrent_requests,
        batch_requests_per_minute=settings.limit_batch_requests_per_minute,
    )
