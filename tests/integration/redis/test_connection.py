"""A Redis that stops, refuses, or is not there: what the gateway makes of it."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path

import pytest
from redis.exceptions import TimeoutError as RedisTimeout

from lab.system.loopback import free_port
from lab.system.redis import redis
from resource_server.adapters.redis import connection
from resource_server.adapters.redis.connection import RedisAway, RedisBusy, open_redis
from resource_server.adapters.redis.grants import RedisGrants
from resource_server.adapters.redis.limits import RedisLimitStore
from resource_server.config import SettingInvalid
from resource_server.domain import errors
from resource_server.domain.limits import Claim
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
        with pytest.raises(RedisAway, match="gone"):
            async with link.asked():
                raise ConnectionResetError("gone")
        assert not await link.available()
        now += connection.ASK_AGAIN_S
        # Of many that come now, the first one tries.
        async with link.asked():
            assert not await link.available()
        assert await link.available()


async def test_what_was_asked_before_it_went_does_not_say_that_it_is_back(
    redis_database: str,
) -> None:
    now = 1000.0
    async with open_redis(redis_database) as opened:
        link = connection.RedisLink(opened.client, clock=lambda: now)
        async with link.asked():
            with pytest.raises(RedisAway, match="gone"):
                async with link.asked():
                    raise ConnectionResetError("gone")
        assert not await link.available()
        now += connection.ASK_AGAIN_S
        assert await link.available()


async def test_that_it_is_away_is_said_once_a_minute_however_often_it_comes_and_goes(
    redis_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    async with open_redis(redis_database) as opened:
        link = connection.RedisLink(opened.client, clock=lambda: now)
        for _ in range(int(2 * connection.SAY_AGAIN_S / connection.ASK_AGAIN_S) - 1):
            with pytest.raises(RedisAway, match="gone"):
                async with link.asked():
                    raise ConnectionResetError("gone")
            now += connection.ASK_AGAIN_S
            assert await link.available()
    assert [record.message for record in caplog.records] == ["redis_away", "redis_back"] * 2


async def test_a_queue_of_our_own_does_not_mean_that_it_is_away(
    redis_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_redis(redis_database) as opened:
        link = connection.RedisLink(opened.client, turns=1, turn_s=0.01)
        async with link.asked():
            with pytest.raises(RedisBusy):
                async with link.asked():
                    raise AssertionError("nobody gets here")
            assert await link.available()
            grants, limits = RedisGrants(link), RedisLimitStore(link)
            assert await grants.get(TOKEN) is None
            assert await grants.claim(TOKEN, ttl_s=60)
            with pytest.raises(errors.LimitStoreBusy):
                await limits.settle(Claim(lease="r", limits=()), tokens=0)
        async with link.asked():
            pass
    assert caplog.records == []


async def test_one_late_answer_among_others_does_not_mean_that_it_is_away(
    redis_database: str,
) -> None:
    now = 1000.0
    async with open_redis(redis_database) as opened:
        link = connection.RedisLink(opened.client, clock=lambda: now)

        async def late(*, others: bool) -> None:
            async with link.asked():
                if others:
                    assert await link.available()
                raise RedisTimeout("late")

        with pytest.raises(RedisAway, match="late"):
            await late(others=True)
        assert await link.available()
        now += 1
        with pytest.raises(RedisAway, match="late"):
            await late(others=False)
        assert not await link.available()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: url.replace("://:", "://:Sup3rS3cret/"),
        lambda url: f"{url}?no_such_option=Sup3rS3cret",
        lambda url: f"{url}?socket_timeout=Sup3rS3cret",
        lambda url: url.replace("redis://:", "https://:Sup3rS3cret"),
        lambda url: url.replace("://:", "://[Sup3rS3cret:"),
    ],
)
async def test_a_url_that_cannot_be_read_is_not_shown(redis_database: str, spoil) -> None:
    with pytest.raises(SettingInvalid, match="HOTNODE_REDIS_URL") as refused:
        async with open_redis(spoil(redis_database)):
            pass
    shown = "".join(traceback.format_exception(refused.value))
    assert "Sup3rS3cret" not in shown


async def test_connections_that_the_url_allows_are_the_turns(redis_database: str, caplog) -> None:
    async with open_redis(f"{redis_database}?max_connections=1") as link:
        assert all(await asyncio.gather(*(link.available() for _ in range(20))))
    assert caplog.records == []


async def test_a_redis_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    async with redis(tmp_path) as server, open_redis(server.url) as link:
        await link.client.execute_command("CLIENT", "PAUSE", 60_000, "ALL")
        answers = await asyncio.gather(*(link.available() for _ in range(5)))
        assert not any(answers)
        with pytest.raises(RedisAway, match="a moment ago"):
            async with link.asked():
                raise AssertionError("nobody gets here")


async def test_grants_are_unknown_and_claims_granted_while_redis_is_away(tmp_path: Path) -> None:
    async with redis(tmp_path) as server, open_redis(server.url) as link:
        grants = RedisGrants(link)
        await grants.put(TOKEN, b"value", ttl_s=60)
        assert await grants.claim(TOKEN, ttl_s=60)
        await server.stop()
        assert await grants.get(TOKEN) is None
        claim = await grants.claim(TOKEN, ttl_s=60)
        assert claim is not None
        await grants.put(TOKEN, b"value", ttl_s=60)
        await grants.forget(TOKEN)
        await grants.release(TOKEN, claim)
        async with asyncio.timeout(30):
            await grants.wait(TOKEN, timeout_s=60)
