"""Fixtures of the acceptance tests: whole programs, started as an operator would."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.engine import RunningEngine, running_engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ready_engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningEngine]:
    """Yield one real engine with the tiny chat model; all tests of a process share it."""
    async with running_engine(tmp_path_factory.mktemp("site")) as engine:
        yield engine
