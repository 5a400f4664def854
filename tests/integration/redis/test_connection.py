"""A Redis that stops, refuses, or is not there: what the gateway makes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lab.system.loopback import free_port
from lab.system.redis import redis
from resource_server.adapters.redis import connection
from resource_server.adapters.redis.connection import RedisAway, open_redis
from resource_server.adapters.redis.grants import RedisGrants
from resource_server.config import SettingInvalid
from tests.support.eventually import eventually_so

TOKEN = b"t" * 32


async def test_a_redis_that_is_not_there_keeps_nobody_from_starting(caplog) -> None:
    async with open_redis(f"redis://127.0.0.1:{free_port()}/0") as link:
        assert not await link.available()
    assert [record.message for record in caplog.records] == ["redis_away"]


@pytest.mark.parametrize("spoilt", ["password", "database"])
async def test_a_redis_that_refuses_us_is_a_mistake_in_the_settings(
    redis_database: str, spoilt: str
) -> None:
    url = {
        "password": redis_database.replace("://:", "://:not-"),
        "database": redis_database.removesuffix("0") + "4711",
    }[spoilt]
    with pytest.raises(SettingInvalid, match="HOTNODE_REDIS_URL"):
        async with open_redis(url):
            pass


async def test_it_is_used_again_as_soon_as_it_is_back(tmp_path: Path, caplog) -> None:
    async with redis(tmp_path) as server, open_redis(server.url) as link:
        assert await link.available()
        await server.stop()
        for _ in range(20):
            assert not await link.available()
        await server.start()
        await eventually_so(link.available)
    assert [record.message for record in caplog.records] == ["redis_away", "redis_back"]


async def test_while_it_is_away_few_calls_try_it(redis_database: str) -> None:
    now = 1000.0
    async with open_redis(redis_database) as opened:
        link = connection.RedisLink(opened.client, clock=lambda: now)
        with pytest.raises(RedisAway, match="gone"), link.asked():
            raise ConnectionResetError("gone")
        assert not await link.available()
        now += connection.ASK_AGAIN_S
        # Of many that come now, the first one tries.
        with link.asked():
            assert not await link.available()
        assert await link.available()


async def test_a_redis_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    async with redis(tmp_path) as server, open_redis(server.url) as link:
        await link.client.execute_command("CLIENT", "PAUSE", 60_000, "ALL")
        answers = await asyncio.gather(*(link.available() for _ in range(5)))
        assert not any(answers)
        with pytest.raises(RedisAway, match="a moment ago"), link.asked():
            raise AssertionError("nobody gets here")


async def test_grants_are_unknown_and_claims_granted_while_redis_is_away(tmp_path: Path) -> None:
    async with redis(tmp_path) as server, open_redis(server.url) as link:
        grants = RedisGrants(link)
        await grants.put(TOKEN, b"value", ttl_s=60)
        assert await grants.claim(TOKEN, ttl_s=60)
        await server.stop()
        assert await grants.get(TOKEN) is None
        assert await grants.claim(TOKEN, ttl_s=60)
        await grants.put(TOKEN, b"value", ttl_s=60)
        await grants.forget(TOKEN)
        await grants.release(TOKEN)
        async with asyncio.timeout(30):
            await grants.wait(TOKEN, timeout_s=60)


async def test_nobody_ends_a_claim_of_another(redis_database: str) -> None:
    async with open_redis(redis_database) as one, open_redis(redis_database) as other:
        late, heir = RedisGrants(one), RedisGrants(other)
        assert await late.claim(TOKEN, ttl_s=0.05)
        await eventually_so(lambda: heir.claim(TOKEN, ttl_s=60))
        await late.release(TOKEN)
        assert not await late.claim(TOKEN, ttl_s=60)
