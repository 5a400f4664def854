"""The gateway of `tests.support.identity_service`, and a Globus of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.identity_service import Service, service_of
from tests.support.local_globus import LocalGlobus


@pytest_asyncio.fixture
async def globus() -> AsyncIterator[LocalGlobus]:
    """Yield a Globus whose people may be made older."""
    async with LocalGlobus() as globus:
        yield globus


@pytest.fixture
async def service(globus: LocalGlobus) -> AsyncIterator[Service]:
    """Serve with a cache that lasts."""
    async with service_of(globus) as service:
        yield service


@pytest.fixture
async def forgetful(globus: LocalGlobus) -> AsyncIterator[Service]:
    """Serve without a cache to speak of."""
    async with service_of(globus, ttl_s=0.001) as service:
        yield service
