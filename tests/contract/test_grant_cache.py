"""What every cache of grants promises; `first` and `second` are two processes' views of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest
import pytest_asyncio

from resource_server.adapters.memory.grants import MemoryGrants
from resource_server.adapters.redis.grants import RedisGrants
from resource_server.ports import GrantCache
from tests.support.shared_stores import Shared, in_memory, in_redis

A, B = b"a" * 32, b"b" * 32
#: Long enough that a slow machine does not fail, since nothing here waits for it to pass.
LONG_S = 60.0


Caches: TypeAlias = Shared[GrantCache]


@pytest.fixture(params=["memory", "redis"])
def opened(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Caches]:
    if request.param == "memory":
        return in_memory(lambda clock: MemoryGrants(clock=clock))
    return in_redis(request.getfixturevalue("redis_database"), RedisGrants)


@pytest_asyncio.fixture
async def caches(opened: AbstractAsyncContextManager[Caches]) -> AsyncIterator[Caches]:
    async with opened as caches:
        yield caches


async def test_nothing_is_known_of_a_token_that_nobody_put(caches: Caches) -> None:
    assert await caches.first.get(A) is None


async def test_what_one_process_puts_another_gets(caches: Caches) -> None:
    await caches.first.put(A, b"\x00value\xff", ttl_s=LONG_S)
    assert await caches.second.get(A) == b"\x00value\xff"
    assert await caches.second.get(B) is None


async def test_the_last_value_counts(caches: Caches) -> None:
    await caches.first.put(A, b"old", ttl_s=LONG_S)
    await caches.second.put(A, b"new", ttl_s=LONG_S)
    assert await caches.first.get(A) == b"new"


async def test_a_value_lasts_for_its_time(caches: Caches) -> None:
    await caches.first.put(A, b"short", ttl_s=0.5)
    await caches.first.put(B, b"long", ttl_s=LONG_S)
    await caches.pass_time(0.6)
    assert await caches.second.get(A) is None
    assert await caches.second.get(B) == b"long"


async def test_what_one_process_forgets_is_forgotten(caches: Caches) -> None:
    await caches.first.put(A, b"value", ttl_s=LONG_S)
    await caches.second.forget(A)
    await caches.second.forget(B)
    assert await caches.first.get(A) is None


async def test_one_process_gets_the_claim(caches: Caches) -> None:
    assert await caches.first.claim(A, ttl_s=LONG_S)
    assert not await caches.second.claim(A, ttl_s=LONG_S)
    assert await caches.second.claim(B, ttl_s=LONG_S)


async def test_of_many_at_once_one_gets_the_claim(caches: Caches) -> None:
    both = [caches.first, caches.second] * 20
    claims = await asyncio.gather(*(cache.claim(A, ttl_s=LONG_S) for cache in both))
    assert sum(claim is not None for claim in claims) == 1


async def test_a_released_claim_is_to_be_had_again(caches: Caches) -> None:
    claim = await caches.first.claim(A, ttl_s=LONG_S)
    assert claim is not None
    await caches.first.release(A, claim)
    assert await caches.second.claim(A, ttl_s=LONG_S)


async def test_the_claim_of_a_process_that_died_ends_by_itself(caches: Caches) -> None:
    await caches.first.claim(A, ttl_s=0.5)
    await caches.pass_time(0.6)
    assert await caches.second.claim(A, ttl_s=LONG_S)


async def test_whoever_waits_goes_on_when_the_claim_is_released(caches: Caches) -> None:
    claim = await caches.first.claim(A, ttl_s=LONG_S)
    assert claim is not None
    waiting = asyncio.create_task(caches.second.wait(A, timeout_s=LONG_S))
    await asyncio.sleep(0)
    await caches.first.put(A, b"value", ttl_s=LONG_S)
    await caches.first.release(A, claim)
    async with asyncio.timeout(LONG_S / 2):
        await waiting
    assert await caches.second.get(A) == b"value"


async def test_nobody_waits_where_nothing_is_claimed(caches: Caches) -> None:
    async with asyncio.timeout(LONG_S / 2):
        await caches.second.wait(A, timeout_s=LONG_S)


async def test_nobody_waits_for_longer_than_they_want(caches: Caches) -> None:
    await caches.first.claim(A, ttl_s=LONG_S)
    async with asyncio.timeout(LONG_S / 2):
        await caches.second.wait(A, timeout_s=0.05)
    assert not await caches.second.claim(A, ttl_s=LONG_S)


async def test_to_release_what_is_not_claimed_does_nothing(caches: Caches) -> None:
    await caches.first.release(A, "nobody's claim")
    assert await caches.first.claim(A, ttl_s=LONG_S)


async def test_nobody_ends_the_claim_of_another(caches: Caches) -> None:
    """Whose own claim ran out while they asked leaves that of the next one alone."""
    late = await caches.first.claim(A, ttl_s=0.5)
    assert late is not None
    await caches.pass_time(0.6)
    for heir in (caches.first, caches.second):
        claim = await heir.claim(A, ttl_s=LONG_S)
        assert claim is not None
        await caches.first.release(A, late)
        assert await caches.second.claim(A, ttl_s=LONG_S) is None
        await heir.release(A, claim)
