"""Sites that take batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_functions.site import VARIABLE
from tests.support import batch_orders, open_folder
from tests.support.batch_orders import BatchSite


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    """Return a site that takes uploads only."""
    made = batch_orders.batch_site(tmp_path)
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    return made


@pytest.fixture
def shared() -> Iterator[Path]:
    """Lend a folder that everybody can enter; files are given to users, which only root can do."""
    if not open_folder.is_root:
        pytest.skip("only root gives files to other users")
    with open_folder.open_folder() as folder:
        yield folder


@pytest.fixture
def alices(shared: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    """Return a site that knows Alice; her project is `shared / "project"`."""
    made = batch_orders.alices_site(shared)
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    return made
