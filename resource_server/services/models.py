"""Which models, frameworks and clusters a person may use."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from resource_server.domain import policy, routing
from resource_server.domain.catalog import Catalog, Cluster, Framework, Model, NamedModel
from resource_server.domain.identity import Person
from resource_server.domain.prospect import Prospect, prospect
from resource_server.domain.routing import Base
from resource_server.ports import SiteViews
from resource_server.services.impasses import Impasses
from resource_server.services.site_board import SiteBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One framework of a cluster, with the models a person may use on it."""

    cluster: Cluster
    framework: Framework
    models: tuple[Model, ...]


class Models:
    """Lists what is on offer; what a person may not use is not shown."""

    def __init__(
        self,
        catalog: Callable[[], Catalog],
        views: SiteViews | None = None,
        impasses: Impasses | None = None,
    ) -> None:
        self._catalog = catalog
        self._views = views or SiteBoard("alone")
        self._impasses = impasses or Impasses()

    def offers(self, person: Person) -> list[Offer]:
        """Return every framework the person may use, by cluster and name."""
        return [
            Offer(cluster=cluster, framework=framework, models=self._at(person, cluster, framework))
            for _, cluster in sorted(self._catalog().clusters.items())
            if policy.may_see(person, cluster.access)
            for _, framework in sorted(cluster.frameworks.items())
        ]

    def at(self, person: Person, base: Base) -> list[NamedModel]:
        """Return the models a person may use at one base URL, under all their names."""
        return routing.names_at(self._catalog(), person, base)

    def at_cluster(self, person: Person, name: str) -> list[tuple[Framework, Model]]:
        """Return the models a person may use at a cluster, with the framework of each."""
        cluster = self._catalog().cluster(name)
        policy.require_cluster(person, cluster)
        return [
            (framework, model)
            for _, framework in sorted(cluster.frameworks.items())
            for model in self._at(person, cluster, framework)
        ]

    def one(self, person: Person, base: Base, name: str) -> NamedModel:
        """Return one model at one base URL, or raise `ModelNotFound`."""
        return routing.choose(self._catalog(), person, base, name).named

    def prospects(self, person: Person, base: Base, model: Model) -> list[Prospect]:
        """Return how a model stands at each place of a base URL that the person may know of.

        No site is asked: it is what is known by now.
        """
        catalog, now = self._catalog(), time.time()
        return [
            self._impasses.told(prospect(catalog, model.id, place, view, now=now), model.id, view)
            for place in model.deployments
            if (cluster := catalog.clusters.get(place.cluster)) is not None
            and base.cluster in (None, place.cluster)
            and base.framework in (None, place.framework)
            and policy.may_see(person, cluster.access)
            for view in (self._views.view(place.cluster),)
        ]

    def _at(self, person: Person, cluster: Cluster, framework: Framework) -> tuple[Model, ...]:
        base = Base(cluster=cluster.name, framework=framework.name)
        return tuple(n.model for n in self.at(person, base) if n.alias is None)
