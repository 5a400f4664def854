"""A gateway under observation."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.watched_gateway import Watched, watched_gateway


@pytest.fixture
async def gateway() -> AsyncIterator[Watched]:
    """Serve one."""
    async with watched_gateway() as watched:
        yield watched
