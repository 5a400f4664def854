"""A served gateway that takes batches, a site that runs them, and people at their own machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.batch_client import Person, person
from tests.support.batch_fixtures import people, service, site
from tests.support.batch_gateway import BatchService

__all__ = ["alice", "eve", "people", "service", "site"]


@pytest.fixture
def alice(service: BatchService, tmp_path: Path) -> Person:
    """Return Alice, who has a token."""
    return person(service, tmp_path, "alice")


@pytest.fixture
def eve(service: BatchService, tmp_path: Path) -> Person:
    """Return Eve, whom no batches are offered to."""
    return person(service, tmp_path, "eve")
