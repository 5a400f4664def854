"""One store as two processes see it: in memory with a clock of its own, or in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from resource_server.adapters.redis.connection import RedisLink, open_redis

Store = TypeVar("Store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared(Generic[Store]):
    """Two views of one store, and a way to let time pass for it."""

    first: Store
    second: Store
    pass_time: Callable[[float], Awaitable[None]]


@asynccontextmanager
async def in_memory(make: Callable[[Callable[[], float]], Store]) -> AsyncIterator[Shared[Store]]:
    """Share a store of one process, made with a clock that stands still by itself."""
    now = 1000.0

    async def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    store = make(lambda: now)
    yield Shared(first=store, second=store, pass_time=pass_time)


@asynccontextmanager
async def in_redis(url: str, make: Callable[[RedisLink], Store]) -> AsyncIterator[Shared[Store]]:
    """Share what two stores keep in the Redis at `url`, over a link each."""
    async with open_redis(url) as first, open_redis(url) as second:
        yield Shared(first=make(first), second=make(second), pass_time=asyncio.sleep)
