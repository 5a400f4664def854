"""What every memory of used credentials promises; `first` and `second` are two processes' views."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from lab.system.redis import Redis
from resource_server.adapters.redeemed_files import SWEEP_EVERY_S, RedeemedFiles
from resource_server.adapters.redis.connection import open_redis
from resource_server.adapters.redis.redeemed import RedeemedEverywhere, RedisRedeemed
from resource_server.domain import errors
from resource_server.ports import RedeemedCredentials

LONG_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memories:
    """One memory as two processes see it, and a way to let time pass for it."""

    first: RedeemedCredentials
    second: RedeemedCredentials
    pass_time: Callable[[float], Awaitable[None]]


@asynccontextmanager
async def files(folder: Path) -> AsyncIterator[Memories]:
    later_s = 0.0

    async def pass_time(seconds: float) -> None:
        nonlocal later_s
        # As long as it takes until somebody looks for what has expired.
        later_s += seconds + SWEEP_EVERY_S

    def clock() -> float:
        return time.time() + later_s

    yield Memories(
        first=RedeemedFiles(folder / "redeemed", clock=clock),
        second=RedeemedFiles(folder / "redeemed", clock=clock),
        pass_time=pass_time,
    )


@asynccontextmanager
async def redis(url: str) -> AsyncIterator[Memories]:
    async with open_redis(url) as first, open_redis(url) as second:
        yield Memories(
            first=RedisRedeemed(first), second=RedisRedeemed(second), pass_time=asyncio.sleep
        )


@pytest.fixture(params=["files", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[Memories]:
    if request.param == "files":
        return files(tmp_path)
    return redis(request.getfixturevalue("redis_database"))


@pytest_asyncio.fixture
async def memories(opened: AbstractAsyncContextManager[Memories]) -> AsyncIterator[Memories]:
    async with opened as memories:
        yield memories


def later() -> float:
    return time.time() + LONG_S


async def test_each_credential_is_taken_once(memories: Memories) -> None:
    assert await memories.first.redeem("site", "a", expires_at=later())
    for memory in (memories.first, memories.second):
        assert not await memory.redeem("site", "a", expires_at=later())


async def test_of_many_at_once_one_takes_it(memories: Memories) -> None:
    both = [memories.first, memories.second] * 10
    taken = await asyncio.gather(*(one.redeem("site", "a", expires_at=later()) for one in both))
    assert sum(taken) == 1


async def test_sites_may_choose_the_same_names(memories: Memories) -> None:
    assert await memories.first.redeem("site", "a", expires_at=later())
    assert await memories.first.redeem("other", "a", expires_at=later())
    assert await memories.first.redeem("sit", "ea", expires_at=later())


async def test_a_name_may_be_anything(memories: Memories) -> None:
    for name in ("../../etc/passwd", "a/b", "ü" * 200, "*"):
        assert await memories.first.redeem("site", name, expires_at=later())
        assert not await memories.second.redeem("site", name, expires_at=later())


async def test_what_has_expired_is_forgotten(memories: Memories) -> None:
    assert await memories.first.redeem("site", "a", expires_at=time.time() + 0.2)
    assert await memories.first.redeem("site", "b", expires_at=time.time() + 10 * SWEEP_EVERY_S)
    await memories.pass_time(0.3)
    assert not await memories.first.redeem("site", "b", expires_at=later())
    assert await memories.first.redeem("site", "a", expires_at=later())


async def test_a_file_without_content_counts_as_used(tmp_path: Path) -> None:
    """A crash may come between the file and what it says."""
    memory = RedeemedFiles(tmp_path)
    assert await memory.redeem("site", "a", expires_at=time.time() - 1)
    [file] = tmp_path.iterdir()  # noqa: ASYNC240 - nobody waits for this loop
    file.write_text("")
    assert not await RedeemedFiles(tmp_path).redeem("site", "a", expires_at=later())
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_disk_that_takes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.CredentialsUnknown):
        await RedeemedFiles(tmp_path / "file").redeem("site", "a", expires_at=later())


async def test_with_redis_a_restart_of_redis_forgets_nothing(
    redis_server: Redis, redis_database: str, tmp_path: Path
) -> None:
    async with open_redis(redis_database) as link:
        both = RedeemedEverywhere(RedisRedeemed(link), RedeemedFiles(tmp_path))
        assert await both.redeem("site", "a", expires_at=later())
        await link.client.flushall()
        assert not await both.redeem("site", "a", expires_at=later())


async def test_while_redis_is_away_nothing_is_used_up(tmp_path: Path) -> None:
    async with open_redis("redis://127.0.0.1:1/0") as link:
        own = RedeemedFiles(tmp_path)
        with pytest.raises(errors.CredentialsUnknown):
            await RedeemedEverywhere(RedisRedeemed(link), own).redeem(
                "site", "a", expires_at=later()
            )
        assert await own.redeem("site", "a", expires_at=later())
