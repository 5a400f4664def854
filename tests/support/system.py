"""PostgreSQL, Redis and RabbitMQ for tests: each starts when first asked for, once per process.

A test that stops a server runs one of its own: `async with postgresql(tmp_path) as server`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio
from redis.asyncio import Redis as RedisClient

from lab.system.packages import PackageMissing
from lab.system.postgresql import Postgresql, postgresql
from lab.system.rabbitmq import Rabbitmq, rabbitmq
from lab.system.redis import Redis, redis


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except PackageMissing as error:
        pytest.fail(str(error), pytrace=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgresql]:
    with _installed():
        async with postgresql(tmp_path_factory.mktemp("postgresql")) as server:
            yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    with _installed():
        async with redis(tmp_path_factory.mktemp("redis")) as server:
            yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rabbitmq]:
    with _installed():
        async with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
            yield server


@pytest_asyncio.fixture
async def postgresql_database(postgresql_server: Postgresql) -> AsyncIterator[str]:
    """Create an empty database for the test, and yield its URL."""
    name = f"test_{secrets.token_hex(6)}"
    yield await postgresql_server.create_database(name)
    await postgresql_server.drop_database(name)


@pytest_asyncio.fixture
async def redis_database(redis_server: Redis) -> str:
    """Empty the server, and return its URL."""
    async with RedisClient.from_url(redis_server.url) as client:
        await client.flushall()
    return redis_server.url
