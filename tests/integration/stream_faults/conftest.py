"""A gateway and what relays need to reach it, for all tests of a module."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.faults import Plant, plant
from tests.support.local_globus import LocalGlobus


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def globus() -> AsyncIterator[LocalGlobus]:
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        async with LocalGlobus(Path(folder)) as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(globus: LocalGlobus) -> AsyncIterator[Plant]:
    """Run all but a relay."""
    async with plant(globus) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def whole(shared: Plant) -> AsyncIterator[Plant]:
    """Run all of it."""
    shared.engine.go.clear()
    async with shared.relay.running():
        await shared.linked()
        yield shared
    await shared.linked(0)
