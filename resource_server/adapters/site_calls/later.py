"""Calls by a way that is opened later than who makes them.

The controller brings the catalog into the database, and the way to the sites needs the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compute_functions.contract import JsonObject
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction
from resource_server.ports import SiteCalls

#: How long to wait while there is no way (seconds).
PAUSE_S = 1.0


class CallsLater:
    """A `ports.SiteCalls` that goes by another one, while there is one."""

    def __init__(self) -> None:
        self._by: SiteCalls | None = None

    @contextmanager
    def going_by(self, calls: SiteCalls | None) -> Iterator[None]:
        """Go that way during the block."""
        self._by = calls
        try:
            yield
        finally:
            self._by = None

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        """Return what the function gave; `BackendUnavailable` while there is no way."""
        if self._by is None:
            raise errors.BackendUnavailable(f"There is no way to '{cluster.name}' yet.")
        return await self._by.call(cluster, function, wire)

    def pause_s(self, cluster: Cluster) -> float:
        """Return how long to wait between two questions to the site (seconds)."""
        return PAUSE_S if self._by is None else self._by.pause_s(cluster)
