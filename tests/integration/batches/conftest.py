"""A gateway's batches, and a site that takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_functions.site import VARIABLE
from tests.support import batch_orders
from tests.support.batch_orders import BatchSite
from tests.support.batch_plant import BatchPlant


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    """Return a site whose functions are called in this process."""
    made = batch_orders.batch_site(tmp_path / "site")
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    return made


@pytest.fixture
def plant(tmp_path: Path) -> BatchPlant:
    """Return the gateway's services, for a test that has a database."""
    return BatchPlant(tmp_path / "files")
