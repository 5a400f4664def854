"""A Redis of the lab: restarts empty on its port, asks for its password, leaves nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as Unreachable

from lab.system.redis import Redis, redis
from tests.support.process_table import session


async def test_a_restart_forgets(tmp_path: Path) -> None:
    async with redis(tmp_path) as server, Client.from_url(server.url) as client:
        await client.set("name", "value")
        await server.stop()
        with pytest.raises(Unreachable):
            await client.get("name")
        await server.start()
        assert await client.get("name") is None
        assert await client.config_get("save") == {"save": ""}


async def test_nothing_is_left_running(tmp_path: Path) -> None:
    async with redis(tmp_path) as server:
        pid, url = server.server.pid, server.url
        assert pid is not None
        assert pid in session(pid)
    assert session(pid) == set()
    async with Client.from_url(url) as client:
        with pytest.raises(Unreachable):
            await client.ping()  # type: ignore[misc] # typed for its sync and async clients at once


async def test_only_the_password_opens_it(redis_server: Redis) -> None:
    without = redis_server.url.replace(f":{redis_server.password}@", "")
    async with Client.from_url(without) as client:
        with pytest.raises(AuthenticationError):
            await client.get("name")


def command_line(server: Redis) -> str:
    return Path(f"/proc/{server.server.pid}/cmdline").read_text()


async def test_the_password_is_no_argument(tmp_path: Path) -> None:
    async with redis(tmp_path) as server:
        arguments = command_line(server)
        assert server.password not in arguments
        mode = (tmp_path / "redis" / "redis.conf").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize("order", ["first", "second"])
async def test_each_test_has_an_empty_database(redis_database: str, order: str) -> None:
    async with Client.from_url(redis_database) as client:
        assert await client.dbsize() == 0
        await client.set("of a test", order)
