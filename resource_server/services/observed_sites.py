"""What runs at a site: as its agent says on its link, else as it answers when it is asked."""

from __future__ import annotations

from resource_server.domain.catalog import Cluster
from resource_server.domain.lifecycle import Observation
from resource_server.ports import SiteObserver
from resource_server.services.site_board import SiteBoard


class ObservedSites:
    """A `ports.SiteObserver` that asks nobody who speaks by himself."""

    def __init__(self, board: SiteBoard, asked: SiteObserver) -> None:
        self._board = board
        self._asked = asked

    async def observe(self, cluster: Cluster) -> Observation:
        """Return what the site sees now; raises an `UpstreamError` if it cannot be asked."""
        if self._board.is_linked(cluster.name):
            known = self._board.known().get(cluster.name)
            if known is not None:
                return known
        return await self._asked.observe(cluster)
