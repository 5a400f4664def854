"""What every store of limits promises; `first` and `second` are two workers' views of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TypeAlias

import pytest
import pytest_asyncio

from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.redis.limits import RedisLimitStore
from resource_server.domain.limits import Claim, Limit, Measure, Scope, Standing
from resource_server.ports import LimitStore
from tests.support.shared_stores import Shared, in_memory, in_redis

#: Long enough that a slow machine does not lose a place before its time.
LEASE_S = 1.0
REQUESTS = Limit(measure=Measure.REQUESTS, amount=3, owner="alice")
TOKENS = Limit(measure=Measure.TOKENS, amount=100, owner="alice")
PLACES = Limit(measure=Measure.CONCURRENT, amount=2, owner="alice")


Stores: TypeAlias = Shared[LimitStore]


@pytest.fixture(params=["memory", "redis"])
def opened(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Stores]:
    if request.param == "memory":
        return in_memory(lambda clock: MemoryLimitStore(lease_s=LEASE_S, clock=clock))
    return in_redis(
        request.getfixturevalue("redis_database"),
        lambda link: RedisLimitStore(link, lease_s=LEASE_S),
    )


@pytest_asyncio.fixture
async def stores(opened: AbstractAsyncContextManager[Stores]) -> AsyncIterator[Stores]:
    async with opened as stores:
        yield stores


def claim(lease: str, *limits: Limit) -> Claim:
    return Claim(lease=lease, limits=limits)


async def granted(store: LimitStore, asked: Claim) -> bool:
    return (await store.take(asked)).granted


@pytest.mark.row("A-56")
async def test_workers_share_the_requests_of_a_minute(stores):
    answers = [
        await granted(store, claim(f"r{i}", REQUESTS))
        for i, store in enumerate([stores.first, stores.second, stores.first, stores.second])
    ]
    assert answers == [True, True, True, False]


async def test_of_many_at_once_as_many_get_through_as_may(stores):
    began = time.monotonic()
    both = [stores.first, stores.second] * 30
    asked = [store.take(claim(f"r{i}", REQUESTS)) for i, store in enumerate(both)]
    through = sum(verdict.granted for verdict in await asyncio.gather(*asked))
    elapsed_s = time.monotonic() - began
    assert 3 <= through <= 3 + elapsed_s * 3 / 60


@pytest.mark.row("A-57")
async def test_what_was_taken_fills_up_again_with_time(stores):
    limit = replace(REQUESTS, amount=40)
    for i in range(40):
        await stores.first.take(claim(f"r{i}", limit))
    refused = await stores.first.take(claim("early", limit))
    assert 0 < refused.waits_s[0] <= 1.5
    await stores.pass_time(refused.waits_s[0])
    assert await granted(stores.second, claim("later", limit))


async def test_the_standing_tells_what_is_left_and_when_all_of_it_is_back(stores):
    verdict = await stores.first.take(claim("r1", REQUESTS, TOKENS, PLACES))
    requests, tokens, places = verdict.standings
    assert (requests.measure, requests.limit, requests.remaining) == (Measure.REQUESTS, 3, 2)
    assert requests.reset_s == pytest.approx(20, abs=1)
    assert tokens == Standing(measure=Measure.TOKENS, limit=100, remaining=100, reset_s=0)
    assert places == Standing(measure=Measure.CONCURRENT, limit=2, remaining=1, reset_s=0)
    assert verdict.waits_s == (0, 0, 0)


async def test_a_refused_claim_takes_nothing_from_any_limit(stores):
    one_place = replace(PLACES, amount=1)
    await stores.first.take(claim("r1", one_place))
    refused = await stores.first.take(claim("r2", REQUESTS, TOKENS, one_place))
    assert not refused.granted
    assert [bool(wait_s) for wait_s in refused.waits_s] == [False, False, True]
    assert refused.standings[0].remaining == 3
    await stores.first.settle(claim("r1", one_place), tokens=0)
    assert await granted(stores.first, claim("r3", one_place))


async def test_a_place_is_free_when_the_request_is_over(stores):
    for lease in ("r1", "r2"):
        assert await granted(stores.first, claim(lease, PLACES))
    assert not await granted(stores.second, claim("r3", PLACES))
    [standing] = await stores.first.settle(claim("r1", PLACES), tokens=0)
    assert standing.remaining == 1
    assert await granted(stores.second, claim("r3", PLACES))


async def test_to_settle_twice_gives_one_place_back(stores):
    for lease in ("r1", "r2"):
        await stores.first.take(claim(lease, PLACES))
    for _ in range(2):
        await stores.first.settle(claim("r1", PLACES), tokens=0)
    assert await granted(stores.first, claim("r3", PLACES))
    assert not await granted(stores.first, claim("r4", PLACES))


async def test_the_places_of_a_worker_that_died_are_free_after_the_lease(stores):
    for lease in ("r1", "r2"):
        await stores.first.take(claim(lease, PLACES))
    await stores.pass_time(LEASE_S + 0.01)
    assert await granted(stores.second, claim("r3", PLACES))


async def test_a_lease_that_begins_anew_keeps_its_place(stores):
    one_place = replace(PLACES, amount=1)
    held = claim("r1", one_place)
    await stores.first.take(held)
    for _ in range(3):
        await stores.pass_time(LEASE_S / 2)
        await stores.first.renew([held])
        await stores.first.renew([])
    assert not await granted(stores.second, claim("r2", one_place))


async def test_a_place_that_was_given_back_is_not_renewed(stores):
    one_place = replace(PLACES, amount=1)
    held = claim("r1", one_place)
    await stores.first.take(held)
    await stores.first.settle(held, tokens=0)
    await stores.first.renew([held])
    assert await granted(stores.second, claim("r2", one_place))


async def test_tokens_are_charged_after_the_fact_and_beyond_what_is_left(stores):
    spent = claim("r1", TOKENS)
    assert await granted(stores.first, spent)
    [standing] = await stores.first.settle(spent, tokens=250)
    assert (standing.limit, standing.remaining) == (100, 0)
    assert standing.reset_s == pytest.approx(150, abs=1)
    refused = await stores.second.take(claim("r2", TOKENS))
    assert refused.waits_s[0] == pytest.approx(90.6, abs=1)


async def test_a_request_may_run_while_one_token_is_left(stores):
    await stores.first.settle(claim("r1", TOKENS), tokens=99)
    assert await granted(stores.first, claim("r2", TOKENS))
    await stores.first.settle(claim("r2", TOKENS), tokens=2)
    assert not await granted(stores.first, claim("r3", TOKENS))


async def test_people_keys_and_models_are_counted_apart(stores):
    once = replace(REQUESTS, amount=1)
    apart = [
        once,
        replace(once, owner="bob"),
        replace(once, scope=Scope.KEY, subject="k"),
        replace(once, scope=Scope.KEY, subject="l"),
        replace(once, scope=Scope.MODEL, subject="k"),
    ]
    for i, limit in enumerate(apart):
        assert await granted(stores.first, claim(f"r{i}", limit))
    for i, limit in enumerate(apart):
        assert not await granted(stores.second, claim(f"s{i}", limit))


async def test_a_claim_that_was_not_taken_is_only_looked_at(stores):
    await stores.first.take(claim("r1", REQUESTS, PLACES))
    for _ in range(3):
        standings = await stores.second.settle(claim("", REQUESTS, TOKENS, PLACES), tokens=0)
        assert [standing.remaining for standing in standings] == [2, 100, 1]


async def test_a_limit_that_changes_counts_at_once(stores):
    for i in range(3):
        await stores.first.take(claim(f"r{i}", REQUESTS))
    lower = replace(REQUESTS, amount=1)
    assert not await granted(stores.first, claim("r4", lower))
    [standing] = await stores.first.settle(claim("", replace(REQUESTS, amount=6)), tokens=0)
    assert (standing.limit, standing.remaining) == (6, 0)
