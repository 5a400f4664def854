"""A hub at a socket whose path is short enough, and a web process's connection to it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from resource_server.adapters.hub import HubBackend, HubConnection


@pytest.fixture
def address() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        yield Path(folder) / "run" / "hub.sock"


@pytest_asyncio.fixture
async def connection(address: Path) -> AsyncIterator[HubConnection]:
    async with HubConnection(address) as connection:
        yield connection


@pytest_asyncio.fixture
async def gateway(connection: HubConnection) -> AsyncIterator[HubBackend]:
    async with HubBackend(connection) as backend:
        yield backend
