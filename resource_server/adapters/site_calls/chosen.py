"""Calls of sites' functions by the way that there is at the moment: the link, else tasks."""

from __future__ import annotations

from compute_functions.contract import JsonObject
from resource_server.adapters.site_calls.by_link import CallsByLink
from resource_server.adapters.site_calls.by_task import CallsByTask
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction


class CallsChosen:
    """A `ports.SiteCalls` that looks anew for each call.

    One that fails is not made again by the other way: who called knows best when to call again, and
    then a lost link is seen to be lost. A process that takes no links has tasks alone.
    """

    def __init__(self, by_link: CallsByLink | None, by_task: CallsByTask) -> None:
        self._by_link = by_link
        self._by_task = by_task

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        """Return what the function gave; see the port."""
        if (link := self._link(cluster, function)) is not None:
            return await link.call(cluster, function, wire)
        if self._by_task.serves(cluster, function):
            return await self._by_task.call(cluster, function, wire)
        raise errors.BackendUnavailable(
            f"The site of '{cluster.name}' has no link here that knows '{function}', and no such "
            "function in the catalog."
        )

    def pause_s(self, cluster: Cluster) -> float:
        """Return how long to wait between two questions to the site (seconds)."""
        link = self._link(cluster, SiteFunction.RUN_BATCH)
        return (link or self._by_task).pause_s(cluster)

    def _link(self, cluster: Cluster, function: SiteFunction) -> CallsByLink | None:
        """Return the way by link, if it leads there now."""
        if self._by_link is None or not self._by_link.serves(cluster, function):
            return None
        return self._by_link
