"""What runs on a cluster, as far as it concerns the person who asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from compute_functions.contract import Instance
from resource_server.domain import policy
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.identity import Person
from resource_server.ports import SiteObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJobs:
    """The instances of a cluster that a person may see; the time is seconds since the epoch."""

    cluster: Cluster
    observed_at: float
    instances: tuple[Instance, ...]


class Jobs:
    """Asks sites what they run."""

    def __init__(self, catalog: Callable[[], Catalog], sites: SiteObserver) -> None:
        self._catalog = catalog
        self._sites = sites

    async def at(self, person: Person, cluster_name: str) -> ClusterJobs:
        """Return what runs on a cluster; raises an `UpstreamError` if the site cannot be asked."""
        catalog = self._catalog()
        cluster = catalog.cluster(cluster_name)
        policy.require_cluster(person, cluster)
        if cluster.maintenance:
            # The site may be down; what callers need to know is why.
            return ClusterJobs(cluster=cluster, observed_at=time.time(), instances=())
        observation = await self._sites.observe(cluster)
        visible = {m.id for m in catalog.models.values() if policy.may_see(person, m.access)}
        return ClusterJobs(
            cluster=cluster,
            observed_at=observation.observed_at,
            instances=tuple(i for i in observation.instances if i.model in visible),
        )
