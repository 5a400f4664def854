"""A shared file system for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import open_folder


@pytest.fixture
def shared() -> Iterator[Path]:
    """Lend a folder that everybody can enter; files are given to users, which only root can do."""
    if not open_folder.is_root:
        pytest.skip("only root gives files to other users")
    with open_folder.open_folder() as folder:
        yield folder
