"""A site that has enrolled, and a hub that takes its relays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.relay_hub import RelayHub, relay_hub
from tests.support.relay_site import RelaySite, catalog_of


@pytest.fixture
def enrolled() -> RelaySite:
    return RelaySite.enrolled()


@pytest_asyncio.fixture
async def hub(enrolled: RelaySite, tmp_path: Path) -> AsyncIterator[RelayHub]:
    async with relay_hub(catalog_of(enrolled), tmp_path) as hub:
        yield hub
