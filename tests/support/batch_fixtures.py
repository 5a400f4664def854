"""Fixtures of a served gateway that takes files and batches, its people, and a site."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from compute_functions.site import VARIABLE
from tests.support import batch_orders
from tests.support.batch_gateway import BatchService, served_batches
from tests.support.batch_orders import BatchSite
from tests.support.local_globus import LocalGlobus

People = tuple[LocalGlobus, dict[str, str]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def people() -> AsyncIterator[People]:
    """Yield a local Globus and tokens of its people by first name."""
    names = {
        "alice": "alice@example.org",
        "bob": "bob@example.org",
        "eve": "eve@evil.example",
    }
    async with LocalGlobus() as globus:
        yield globus, {name: await globus.token(username) for name, username in names.items()}


@pytest.fixture
async def service(people: People, tmp_path: Path, database: None) -> AsyncIterator[BatchService]:
    """Serve a gateway with the usual bounds."""
    async with served_batches(people, tmp_path / "files") as served:
        yield served


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    """Return a site whose functions are called in this process."""
    made = batch_orders.batch_site(tmp_path / "site")
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    return made
