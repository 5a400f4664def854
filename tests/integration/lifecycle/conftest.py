"""Two sites on real Slurm before a real gateway, once for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lifecycle_parts.stand import Stand
from lifecycle_parts.stand import stand as running_stand


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    # Whoever kills a controller need not wait for long.
    folder = tmp_path_factory.mktemp("sites")
    async with running_stand(folder, controller_lease_s="2") as running:
        yield running
