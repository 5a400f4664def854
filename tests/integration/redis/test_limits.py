"""Limits of several workers over one Redis, and what is left in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis as RedisClient

from lab.system.redis import redis
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.redis.connection import open_redis
from resource_server.adapters.redis.limits import RedisLimitStore
from resource_server.domain import errors
from resource_server.domain.inference import Usage
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.services.limits import Limits
from resource_server.services.shared_limits import SharedLimits
from tests.support.catalogs import model
from tests.support.doubles import person
from tests.support.eventually import eventually, eventually_so

ALICE = replace(person("alice@example.org"), credential="c0ffee")
MODEL = model("a/b")
EVERYTHING = Allowance(
    requests_per_minute=1000,
    requests_per_minute_per_key=1000,
    tokens_per_minute=1000,
    tokens_per_minute_per_model=1000,
    concurrent_requests=4,
)


@asynccontextmanager
async def worker(url: str, allowance: Allowance, *, lease_s: float = 30.0) -> AsyncIterator[Limits]:
    """Open limits as one worker process has them."""
    rules = LimitRules(defaults=(allowance,))
    async with open_redis(url) as link:
        store = SharedLimits(RedisLimitStore(link, lease_s=lease_s), MemoryLimitStore())
        async with Limits(store, lambda: rules, renew_every_s=lease_s / 3) as limits:
            yield limits


class Tally:
    """How many requests got through, how many were refused, and how many ran at once."""

    def __init__(self) -> None:
        self.through = self.refused = self.running = self.most = 0

    async def ask(self, limits: Limits, request_id: str) -> None:
        try:
            async with limits.admitted(ALICE, MODEL, request_id=request_id):
                self.running += 1
                self.most = max(self.most, self.running)
                await asyncio.sleep(0)
                self.running -= 1
                self.through += 1
        except errors.RateLimited:
            self.refused += 1


@pytest.mark.row("A-56")
async def test_two_workers_enforce_one_limit_together(redis_database: str) -> None:
    tally = Tally()
    allowance = Allowance(requests_per_minute=10)
    async with (
        worker(redis_database, allowance) as first,
        worker(redis_database, allowance) as second,
        asyncio.TaskGroup() as group,
    ):
        for number in range(40):
            group.create_task(tally.ask((first, second)[number % 2], f"r{number}"))
    # In the seconds that this may take one more may have filled up.
    assert tally.through in {10, 11}
    assert tally.refused == 40 - tally.through


async def test_two_workers_share_the_places(redis_database: str) -> None:
    tally = Tally()
    allowance = Allowance(concurrent_requests=3)
    async with (
        worker(redis_database, allowance) as first,
        worker(redis_database, allowance) as second,
        asyncio.TaskGroup() as group,
    ):
        for number in range(60):
            group.create_task(tally.ask((first, second)[number % 2], f"r{number}"))
    assert 1 <= tally.most <= 3
    assert tally.through + tally.refused == 60


async def test_tokens_charged_at_one_worker_count_at_the_other(redis_database: str) -> None:
    allowance = Allowance(tokens_per_minute=100)
    async with (
        worker(redis_database, allowance) as first,
        worker(redis_database, allowance) as second,
    ):
        async with first.admitted(ALICE, MODEL, request_id="r1") as admission:
            admission.use(Usage(input_tokens=100, output_tokens=100))
        with pytest.raises(errors.RateLimited) as refused:
            async with second.admitted(ALICE, MODEL, request_id="r2"):
                pass
        assert refused.value.retry_after_s == pytest.approx(60.6, abs=2)


async def test_a_running_request_keeps_its_place_beyond_its_first_lease(
    redis_database: str,
) -> None:
    allowance = Allowance(concurrent_requests=1)
    async with (
        worker(redis_database, allowance, lease_s=0.9) as first,
        worker(redis_database, allowance, lease_s=0.9) as second,
        first.admitted(ALICE, MODEL, request_id="r1"),
    ):
        await asyncio.sleep(1.5)
        with pytest.raises(errors.RateLimited):
            async with second.admitted(ALICE, MODEL, request_id="r2"):
                pass


async def test_nothing_stays_for_ever_and_nobody_s_name_is_kept(redis_database: str) -> None:
    async with worker(redis_database, EVERYTHING) as limits:
        async with limits.admitted(ALICE, MODEL, request_id="r1") as admission:
            admission.use(Usage(input_tokens=1, output_tokens=1))
            async with RedisClient.from_url(redis_database) as client:
                keys = [key.decode() for key in await client.keys("*")]
                assert len(keys) == 3
                assert all([0 < await client.pttl(key) <= 61_000 for key in keys])
        async with RedisClient.from_url(redis_database) as client:
            keys = [key.decode() for key in await client.keys("*")]
            assert all([0 < await client.pttl(key) <= 61_000 for key in keys])
    tag = f"{{{ALICE.primary.id}}}"
    assert sorted(keys) == [
        f"hotnode:limits:{tag}:requests",
        f"hotnode:limits:{tag}:requests:key:c0ffee",
        f"hotnode:limits:{tag}:tokens",
        f"hotnode:limits:{tag}:tokens:model:a/b",
    ]


async def test_a_redis_that_lost_the_scripts_gets_them_again(redis_database: str) -> None:
    async with worker(redis_database, EVERYTHING) as limits:
        for request_id in ("r1", "r2"):
            async with limits.admitted(ALICE, MODEL, request_id=request_id) as admission:
                admission.use(Usage(input_tokens=10))
                async with RedisClient.from_url(redis_database) as client:
                    await client.script_flush()
        async with limits.admitted(ALICE, MODEL, request_id="r3") as admission:
            [_, tokens, *_] = admission.standings
        assert 980 <= tokens.remaining < 1000


async def test_a_restart_under_load_refuses_nobody_and_limits_go_on(tmp_path: Path) -> None:
    """While Redis is away each worker counts for itself; afterwards they count together again."""
    tally = Tally()
    allowance = Allowance(requests_per_minute=100_000, concurrent_requests=50)
    stopping = asyncio.Event()

    async def load(limits: Limits, name: str) -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            await tally.ask(limits, f"{name}-{number}")

    async with (
        redis(tmp_path) as server,
        worker(server.url, allowance) as first,
        worker(server.url, allowance) as second,
        asyncio.TaskGroup() as group,
    ):
        for number in range(6):
            group.create_task(load((first, second)[number % 2], f"load-{number}"))
        await eventually(lambda: tally.through > 50)
        await server.stop()
        before = tally.through
        await eventually(lambda: tally.through > before + 50)
        await server.start()
        async with RedisClient.from_url(server.url) as client:
            await eventually_so(lambda: client.keys("*requests"))
        stopping.set()
    assert tally.refused == 0


async def test_while_redis_is_away_each_worker_limits_for_itself(tmp_path: Path) -> None:
    allowance = Allowance(requests_per_minute=5)
    async with (
        redis(tmp_path) as server,
        worker(server.url, allowance) as first,
        worker(server.url, allowance) as second,
    ):
        await server.stop()
        tallies = [Tally(), Tally()]
        for tally, limits in zip(tallies, (first, second), strict=True):
            for number in range(10):
                await tally.ask(limits, f"r{number}")
    assert all(tally.through in {5, 6} for tally in tallies)
