"""A hub that takes agents of one enrolled site with one model that is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.relay_site import RelaySite
from tests.support.site_links import SiteHub, kept_catalog, site_hub


@pytest.fixture
def site() -> RelaySite:
    return RelaySite.enrolled()


@pytest_asyncio.fixture
async def hub(site: RelaySite, tmp_path: Path) -> AsyncIterator[SiteHub]:
    async with site_hub(kept_catalog(site), tmp_path) as running:
        yield running
