"""What a hub knows of every site, in one place: what is desired, who wants it, what there is."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from compute_functions.contract import (
    Demand,
    DesiredState,
    InstanceState,
    SiteStatus,
    Wishes,
)
from resource_server.domain.catalog import Catalog
from resource_server.domain.desired import desired_state, managed, override_of
from resource_server.domain.lifecycle import SPEAKING, Observation, Place, Post, Reach, SiteView
from resource_server.domain.report import failed, observed, steadied
from resource_server.services.changes import Changes
from resource_server.services.demand import DemandBook
from resource_server.services.farewells import Farewells
from resource_server.services.waiters import WaiterCounts

log = logging.getLogger(__name__)

#: So long after its start, or after a link was lost, a site counts as not asked yet and not as away
#: (seconds): agents dial again within that time.
GRACE_S = 15.0


@dataclass(slots=True)
class _Site:
    """What is known of one site; `lost_at` is when it was last reached (the monotonic clock)."""

    lost_at: float
    linked: bool = False
    #: Whether the last question by task was answered; None if none was asked.
    answers: bool | None = None
    #: Whether one is under way: an agent that has to be started takes a while to answer.
    asked: bool = False
    observation: Observation | None = None
    ready: frozenset[Post] = frozenset()


#: So much of an agent's own words goes into the log (characters).
TROUBLE_SHOWN = 1000


class Relays(Protocol):
    """What knows which relays take requests."""

    def serves(self, place: Place) -> bool:
        """Tell whether one does at a place."""

    def posts(self, cluster: str) -> Iterable[Post]:
        """Return where one does at a cluster."""

    def failed(self, cluster: str, instances: Collection[str]) -> None:
        """Take it that these instances of a cluster have failed, and no others."""


class SiteBoard:
    """The hub's view of all sites, which links, tasks and relays bring up to date.

    It is a `ports.SiteViews` for who is in the same process. `changes` notes each cluster of which
    something is worth waking up for.
    """

    def __init__(
        self,
        hub: str,
        *,
        relays: Relays | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.hub = hub
        self.changes = Changes()
        #: Notes each cluster of which something else is desired, or by somebody else.
        self.wishes_changed = Changes()
        self.demand = DemandBook(self.wishes_changed, clock=monotonic)
        self.farewells = Farewells()
        self.relays = relays
        self._clock = clock
        self._monotonic = monotonic
        self._began_at = monotonic()
        self._catalog = Catalog()
        self._desired: dict[str, DesiredState] = {}
        #: The models of each cluster, of which alone its site may speak.
        self._models: dict[str, frozenset[str]] = {}
        self._sites: defaultdict[str, _Site] = defaultdict(lambda: _Site(self._began_at))
        self._own = WaiterCounts(lambda counts: self.demand.tell(self, counts))

    # What is desired and wanted

    def take_catalog(self, catalog: Catalog) -> None:
        """Desire what this catalog says from now on."""
        self._catalog = catalog
        self._models = _models_of(catalog)
        desired = {name: desired_state(catalog, name) for name in catalog.clusters}
        before, self._desired = self._desired, desired
        self.farewells.take(desired)
        for cluster in before.keys() | desired.keys():
            if before.get(cluster) != desired.get(cluster):
                self.wishes_changed.note(cluster)

    @property
    def catalog(self) -> Catalog:
        """The catalog that it goes by."""
        return self._catalog

    def desired(self, cluster: str) -> DesiredState | None:
        """Return what is desired of a cluster; None before a catalog has named it."""
        return self._desired.get(cluster)

    def manages(self, cluster: str) -> bool:
        """Tell whether any model is kept at a cluster."""
        desired = self._desired.get(cluster)
        return desired is not None and bool(desired.models)

    def tells(self, cluster: str) -> bool:
        """Tell whether a site is to be told what is wanted.

        That is so while models are kept there, and then until it has heard that none is.
        """
        observation = self._sites[cluster].observation
        agent = observation.agent if observation else None
        return self.manages(cluster) or self.farewells.is_due(cluster, agent)

    def demand_at(self, cluster: str) -> Demand:
        """Return who wants the models that are kept at a cluster."""
        now = self._clock()
        posts: dict[Post, float | None] = {}
        for name, place, _ in managed(self._catalog, cluster):
            loaded_at = override_of(self._catalog, name, cluster).loaded_at
            posts[place.framework, name] = max(0.0, now - loaded_at) if loaded_at else None
        return Demand(hub=self.hub, models=self.demand.for_site(cluster, posts))

    def wishes(self, cluster: str) -> Wishes:
        """Return all that a site is to know."""
        return Wishes(desired=self.desired(cluster), demand=self.demand_at(cluster))

    # What comes from sites

    def link(self, cluster: str) -> None:
        """Note that a site's agent has linked."""
        site = self._sites[cluster]
        # What tasks said before counts no more when the link is lost.
        site.linked, site.answers = True, None
        self.changes.note(cluster)

    def unlink(self, cluster: str) -> None:
        """Note that its link is gone."""
        site = self._sites[cluster]
        site.linked, site.lost_at = False, self._monotonic()
        self.changes.note(cluster)
        # Who speaks by task with sites without a link begins now, and has the agent started again.
        self.wishes_changed.note(cluster)

    def take_status(self, cluster: str, status: SiteStatus) -> Observation:
        """Take what a site has just said on its link."""
        return self.take(cluster, observed(status, now=self._clock()))

    def take(self, cluster: str, observation: Observation) -> Observation:
        """Know this of a site from now on, as far as it is about models of its own."""
        site = self._sites[cluster]
        before = site.observation
        observation = self._own_alone(cluster, observation)
        ahead_s = steadied(observation.ahead_s, before)
        if ahead_s != observation.ahead_s:
            observation = replace(observation, ahead_s=ahead_s)
        site.observation = observation
        self.farewells.hear(cluster, observation.agent)
        site.ready = frozenset(
            (one.framework, one.model)
            for one in observation.instances
            if one.state is InstanceState.READY
        )
        if self.relays is not None:
            self.relays.failed(cluster, failed(observation))
        if _news(before) != _news(observation):
            self.changes.note(cluster)
        _log_trouble(cluster, before, observation)
        return observation

    def ask(self, cluster: str) -> None:
        """Note that a question by task is under way, whose answer `take_answer` takes."""
        self._sites[cluster].asked = True

    def take_answer(self, cluster: str, status: SiteStatus | None) -> Observation | None:
        """Take what a site says to a task; None if it did not answer. Return what is known now.

        A site that speaks by itself has said more since than a task of some seconds ago. Who
        answers without an agent looks and nothing else: that site can start nothing.
        """
        site = self._sites[cluster]
        site.asked = False
        if site.linked:
            if site.observation is None and status is not None:
                self.take_status(cluster, status)
            return site.observation
        answers = status is not None and status.agent is not None
        if site.answers != answers:
            site.answers = answers
            self.changes.note(cluster)
        return site.observation if status is None else self.take_status(cluster, status)

    def _own_alone(self, cluster: str, observation: Observation) -> Observation:
        models = self._models.get(cluster)
        if models is None:
            # A hub without a catalog; who shows something looks at theirs.
            return observation
        return replace(
            observation,
            instances=tuple(one for one in observation.instances if one.model in models),
            for_batches=tuple(one for one in observation.for_batches if one.model in models),
            outlooks=tuple(one for one in observation.outlooks if one.model in models),
        )

    def note_relay(self, cluster: str) -> None:
        """Note that a relay there has begun to take requests, or ceased to."""
        self.changes.note(cluster)

    # What it knows, for `ports.SiteViews`

    def view(self, cluster: str) -> SiteView:
        """Return what is known of a site now."""
        site = self._sites[cluster]
        reach = self._reach(site)
        connected = frozenset(self.relays.posts(cluster) if self.relays else ())
        return SiteView(
            cluster=cluster,
            number=self.changes.number(cluster),
            reach=reach,
            observation=site.observation,
            ready=connected | site.ready if reach in SPEAKING else connected,
            requests=self.demand.of(cluster),
        )

    def serves(self, place: Place) -> bool | None:
        """Tell whether a model takes requests at a place, as far as is known; see the port."""
        cluster, framework, model = place
        site = self._sites[cluster]
        if self.relays is not None and self.relays.serves(place):
            return True
        if site.observation is None or self._reach(site) not in SPEAKING:
            return None
        return (framework, model) in site.ready

    async def changed(self, views: Collection[SiteView], *, within_s: float) -> bool:
        """Wait for a change of any of these; see the port."""
        return await self.changes.after(
            {view.cluster: view.number for view in views}, within_s=within_s
        )

    def waiting(self, place: Place) -> AbstractContextManager[None]:
        """Count a request as waiting during the block."""
        return self._own.waiting(place)

    def is_linked(self, cluster: str) -> bool:
        """Tell whether the site's agent has a link here."""
        return self._sites[cluster].linked

    def clusters(self) -> list[str]:
        """Return every cluster of which there is something to know."""
        return sorted(self._desired.keys() | self._sites.keys())

    def known(self) -> Mapping[str, Observation]:
        """Return the last observation of each site that was ever observed."""
        return {
            name: site.observation
            for name, site in self._sites.items()
            if site.observation is not None
        }

    def _reach(self, site: _Site) -> Reach:
        if site.linked:
            return Reach.LINKED
        if site.answers is not None:
            return Reach.BY_TASK if site.answers else Reach.AWAY
        young = site.asked or self._monotonic() - site.lost_at < GRACE_S
        return Reach.UNKNOWN if young else Reach.AWAY


def _log_trouble(cluster: str, before: Observation | None, now: Observation) -> None:
    """Write down what keeps an agent from its work, once; its words are not for callers."""
    trouble = now.agent.trouble if now.agent else ""
    if trouble != (before.agent.trouble if before and before.agent else ""):
        level = logging.WARNING if trouble else logging.INFO
        shown = {"cluster": cluster, "trouble": trouble[:TROUBLE_SHOWN]}
        log.log(level, "site_agent_trouble", extra=shown)


def _news(observation: Observation | None) -> object:
    """Return what of an observation is worth waking up for: not the mere passing of time."""
    if observation is None:
        return None
    instances = {
        (one.framework, one.model, one.job_id, one.state, one.stage, one.ahead, one.reason)
        for one in (*observation.instances, *observation.for_batches)
    }
    outlooks = {(one.framework, one.model, one.refused, one.waits) for one in observation.outlooks}
    return instances, outlooks


def _models_of(catalog: Catalog) -> dict[str, frozenset[str]]:
    """Return the models that are deployed at each cluster."""
    found: dict[str, set[str]] = {name: set() for name in catalog.clusters}
    for name, model in catalog.models.items():
        for place in model.deployments:
            if place.cluster in found:
                found[place.cluster].add(name)
    return {cluster: frozenset(models) for cluster, models in found.items()}
