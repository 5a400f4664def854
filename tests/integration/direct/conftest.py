"""What reaches engines directly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from resource_server.adapters.direct import DirectBackend, DirectClients


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[DirectBackend]:
    async with DirectClients() as clients:
        yield DirectBackend(clients)
