"""The gateway of `tests.support.waiting_gateway`, in one process and behind a hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.waiting_gateway import Waited, waiting_gateway


@pytest.fixture(params=[False, True], ids=["one-process", "behind-a-hub"])
def behind_hub(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


@pytest_asyncio.fixture
async def gateway(behind_hub: bool, tmp_path: Path) -> AsyncIterator[Waited]:
    async with waiting_gateway(tmp_path, behind_hub=behind_hub) as running:
        yield running
