"""A Compute service with faults on order, and channels to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from resource_server.adapters.globus_compute.channel import TaskChannel
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.credentials import ClientCredentials
from tests.support.compute_double import ComputeDouble

#: So many requests that no test waits for its turn.
PLENTY = 1000


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[ComputeDouble]:
    async with ComputeDouble(tmp_path) as double:
        yield double


@pytest.fixture
def client(service: ComputeDouble) -> ComputeClient:
    """Return a client that nobody has opened yet."""
    return _client(service, PLENTY)


@pytest_asyncio.fixture
async def channel(client: ComputeClient) -> AsyncIterator[TaskChannel]:
    async with TaskChannel(client) as channel:
        yield channel


@pytest_asyncio.fixture
async def small_allowance(service: ComputeDouble) -> AsyncIterator[TaskChannel]:
    """Yield a channel that may make six requests in ten seconds."""
    async with TaskChannel(_client(service, 6)) as channel:
        yield channel


def _client(service: ComputeDouble, allowance: int) -> ComputeClient:
    credentials = ClientCredentials.read(service.clients, "local")
    return ComputeClient(credentials, service.addresses, allowance=allowance)
