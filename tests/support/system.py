"""PostgreSQL, Redis, RabbitMQ and Slurm for tests: started when first asked for, once a process.

A test that stops a server runs one of its own: `async with postgresql(tmp_path) as server`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio
from redis.asyncio import Redis as RedisClient

from lab.slurm.client import ENDED
from lab.slurm.cluster import SlurmCluster, slurm_cluster
from lab.slurm.plan import Clocks
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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def slurm_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SlurmCluster]:
    with _installed():
        folder, clocks = tmp_path_factory.mktemp("slurm"), Clocks(kill_wait_s=2)
        async with slurm_cluster(folder, name="tests", clocks=clocks) as cluster:
            yield cluster


@pytest_asyncio.fixture
async def slurm(slurm_server: SlurmCluster) -> AsyncIterator[SlurmCluster]:
    """Lend the cluster, and take from it what the test leaves.

    A test that cuts power or stops the controller runs a cluster of its own.
    """
    yield slurm_server
    for job in await slurm_server.jobs():
        if job.state not in ENDED:
            await slurm_server.cancel(job.id)
    await slurm_server.until_nodes(slurm_server.nodes, "idle")


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
