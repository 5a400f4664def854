"""Shows who waits for models, which sites' agents are linked, and what each site last said."""

from __future__ import annotations

from collections import defaultdict

from resource_server.adapters.metrics.instruments import Instruments
from resource_server.adapters.metrics.samples import Look, places_at, show_instances
from resource_server.domain.lifecycle import Place, Post
from resource_server.services.site_board import SiteBoard


def look_at_board(instruments: Instruments, board: SiteBoard) -> Look:
    """Return a look at what a hub knows of its sites."""
    shown: set[Place] = set()
    posts: defaultdict[str, set[Post]] = defaultdict(set)

    def look() -> None:
        waiting: dict[Place, int] = dict.fromkeys(shown, 0)
        for cluster in board.clusters():
            instruments.agent_links.labels(cluster).set(board.is_linked(cluster))
            for one in board.demand.of(cluster):
                waiting[cluster, one.framework, one.model] = one.waiting
        for place, number in waiting.items():
            instruments.waiting.labels(*place).set(number)
        for cluster, observation in board.known().items():
            instruments.site_observed.labels(cluster).set(observation.observed_at)
            # Also places that were in the catalog before: they have no instances any more.
            posts[cluster] |= set(places_at(board.catalog, cluster))
            show_instances(instruments, cluster, observation, posts[cluster])
        shown.update(waiting)

    return look
