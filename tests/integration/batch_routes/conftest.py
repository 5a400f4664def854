"""A served gateway that takes files and batches, and its people."""

from __future__ import annotations

from tests.support.batch_fixtures import people, service, site

__all__ = ["people", "service", "site"]
