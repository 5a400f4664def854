"""What runs on a cluster, as far as it concerns the person who asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from compute_functions.contract import Instance
from resource_server.domain import errors, policy
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.identity import Person
from resource_server.domain.lifecycle import Observation, Reach, outlook_at
from resource_server.domain.prospect import SILENT_AFTER_S, Prospect, prospect
from resource_server.ports import SiteObserver, SiteViews
from resource_server.services.impasses import Impasses
from resource_server.services.site_board import SiteBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJobs:
    """The instances of a cluster that a person may see, and how its models stand.

    Times are seconds since the epoch, those of instances by the site's clock, which is `ahead_s`
    before the gateway's. `for_batches` are those that no caller's request reaches. `silent` tells
    that the site has not spoken lately, `in_trouble` that something keeps its agent from its work.
    """

    cluster: Cluster
    observed_at: float
    instances: tuple[Instance, ...] = ()
    for_batches: tuple[Instance, ...] = ()
    prospects: tuple[tuple[str, Prospect], ...] = ()
    reach: Reach = Reach.UNKNOWN
    silent: bool = False
    in_trouble: bool = False
    observation: Observation | None = None

    @property
    def ahead_s(self) -> float:
        """How far the site's clock is before the gateway's (seconds)."""
        return self.observation.ahead_s if self.observation else 0.0

    def load_s(self, instance: Instance) -> float | None:
        """Return how long an instance's model takes to load (seconds), as the site has learnt."""
        found = outlook_at(self.observation, (instance.framework, instance.model))
        return found.load_s if found else None


class Jobs:
    """Asks sites what they run; of one that cannot be asked, it shows what is known."""

    def __init__(
        self,
        catalog: Callable[[], Catalog],
        sites: SiteObserver,
        views: SiteViews | None = None,
        *,
        impasses: Impasses | None = None,
    ) -> None:
        self._catalog = catalog
        self._sites = sites
        self._views = views or SiteBoard("alone")
        self._impasses = impasses or Impasses()

    async def at(self, person: Person, cluster_name: str) -> ClusterJobs:
        """Return what runs on a cluster; raises an `UpstreamError` if nothing is known of it."""
        catalog = self._catalog()
        cluster = catalog.cluster(cluster_name)
        policy.require_cluster(person, cluster)
        if cluster.maintenance:
            # The site may be down; what callers need to know is why.
            return ClusterJobs(cluster=cluster, observed_at=time.time())
        observation = await self._observed(cluster)
        visible = {m.id for m in catalog.models.values() if policy.may_see(person, m.access)}
        now = time.time()
        view = self._views.view(cluster.name)
        return ClusterJobs(
            cluster=cluster,
            observed_at=observation.observed_at,
            instances=tuple(i for i in observation.instances if i.model in visible),
            for_batches=tuple(i for i in observation.for_batches if i.model in visible),
            prospects=tuple(
                (
                    name,
                    self._impasses.told(prospect(catalog, name, place, view, now=now), name, view),
                )
                for name in sorted(visible)
                for place in catalog.models[name].deployments
                if place.cluster == cluster.name
            ),
            reach=view.reach,
            silent=now - observation.observed_at > SILENT_AFTER_S,
            in_trouble=bool(observation.agent and observation.agent.trouble),
            observation=observation,
        )

    async def _observed(self, cluster: Cluster) -> Observation:
        try:
            return await self._sites.observe(cluster)
        except errors.UpstreamError:
            known = self._views.view(cluster.name).observation
            if known is None:
                raise
            return known
