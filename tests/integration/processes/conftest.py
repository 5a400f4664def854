"""One gateway of several processes for all tests of a module."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.gateway_processes import Processes, running_processes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes() -> AsyncIterator[Processes]:
    # A name short enough for the hub's socket.
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        async with running_processes(Path(folder)) as running:
            yield running
