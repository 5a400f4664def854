"""Calls of a site's functions on the link that its agent has dialled."""

from __future__ import annotations

from compute_functions.contract import JsonObject
from resource_server.adapters.site_calls.pauses import BY_LINK_S
from resource_server.adapters.site_link import SiteLinks
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction


class CallsByLink:
    """A `ports.SiteCalls` for sites that have a link to this process."""

    def __init__(self, links: SiteLinks) -> None:
        self._links = links

    def serves(self, cluster: Cluster, function: SiteFunction) -> bool:
        """Tell whether the site has a link now, and an agent that knows the function."""
        return self._links.offers(cluster.name, function)

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        """Return what the function gave; see the port."""
        return await self._links.call(cluster.name, function, wire)

    def pause_s(self, cluster: Cluster) -> float:
        """Return how long to wait between two questions to the site (seconds)."""
        return BY_LINK_S
