"""Tokens that anybody can invent, in numbers, and what they must not do to Redis and to limits."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.redis.connection import open_redis
from resource_server.adapters.redis.grants import RedisGrants
from resource_server.adapters.redis.limits import RedisLimitStore
from resource_server.domain import errors
from resource_server.domain.catalog import AccessRule, Catalog
from resource_server.domain.identity import Grant
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.services.entrance import Entrance
from resource_server.services.limits import Limits
from resource_server.services.shared_limits import SharedLimits
from resource_server.services.tokens import Tokens
from tests.support.catalogs import model
from tests.support.doubles import person

ALICE = replace(person("alice@example.org"), credential="c0ffee")
MODEL = model("a/b")
FLOOD = 1500
PLACES = 2


class ProviderThatKnowsNobody:
    """Refuses every token, as Globus does with invented ones."""

    def __init__(self) -> None:
        self.asked = 0

    async def identify(
        self, token: str, *, known: bool = False, policies: frozenset[str] = frozenset()
    ) -> Grant:
        self.asked += 1
        await asyncio.sleep(0)
        raise errors.Unauthenticated

    async def available(self) -> bool:
        return True


def tokens_of(provider: ProviderThatKnowsNobody, cache: RedisGrants) -> Tokens:
    entrance = Entrance(AccessRule(), Catalog)
    return Tokens(provider, entrance=entrance, cache=cache, key=b"k" * 32, ttl_s=600)


async def refused(tokens: Tokens, token: str) -> bool:
    try:
        await tokens.authenticate(token)
    except errors.Unauthenticated:
        return True
    return False


async def test_a_flood_of_invented_tokens_does_not_make_redis_look_away(
    redis_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Places keep being shared by two workers while both are flooded."""
    rules = LimitRules(defaults=(Allowance(concurrent_requests=PLACES),))
    running = most = through = 0

    async def ask(limits: Limits, request_id: str) -> None:
        nonlocal running, most, through
        try:
            async with limits.admitted(ALICE, MODEL, request_id=request_id):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.01)
                running -= 1
                through += 1
        except errors.RateLimited:
            pass

    async with (
        open_redis(redis_database) as grants,
        open_redis(redis_database) as one,
        open_redis(redis_database) as other,
        Limits(SharedLimits(RedisLimitStore(one), MemoryLimitStore()), lambda: rules) as first,
        Limits(SharedLimits(RedisLimitStore(other), MemoryLimitStore()), lambda: rules) as second,
    ):
        tokens = tokens_of(ProviderThatKnowsNobody(), RedisGrants(grants))
        async with asyncio.TaskGroup() as group:
            flood = [group.create_task(refused(tokens, f"bogus-{i}")) for i in range(FLOOD)]
            for number in range(200):
                await asyncio.sleep(0)
                group.create_task(ask((first, second)[number % 2], f"r{number}"))
    assert all(task.result() for task in flood)
    assert [record.message for record in caplog.records if "redis" in record.message] == []
    assert through
    assert most <= PLACES


async def test_what_can_be_no_token_costs_nothing(redis_database: str) -> None:
    provider = ProviderThatKnowsNobody()
    async with open_redis(redis_database) as link:
        before = await link.client.info("commandstats")
        tokens = tokens_of(provider, RedisGrants(link))
        for bogus in ("", "with a space", "zoë", "x" * 3000, "new\nline", "nul\x00"):
            with pytest.raises(errors.Unauthenticated, match="no Globus access token"):
                await tokens.authenticate(bogus)
        after = await link.client.info("commandstats")
    assert provider.asked == 0
    for command in ("cmdstat_get", "cmdstat_set", "cmdstat_del", "cmdstat_evalsha"):
        assert after.get(command, {}).get("calls") == before.get(command, {}).get("calls")
