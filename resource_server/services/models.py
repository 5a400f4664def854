"""Which models, frameworks and clusters a person may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resource_server.domain import policy
from resource_server.domain.catalog import Catalog, Cluster, Framework, Model
from resource_server.domain.identity import Person


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One framework of a cluster, with the models a person may use on it."""

    cluster: Cluster
    framework: Framework
    models: tuple[Model, ...]


class Models:
    """Lists what is on offer; what a person may not use is not shown."""

    def __init__(self, catalog: Callable[[], Catalog]) -> None:
        self._catalog = catalog

    def offers(self, person: Person) -> list[Offer]:
        """Return every framework the person may use, by cluster and name."""
        catalog = self._catalog()
        return [
            Offer(
                cluster=cluster,
                framework=framework,
                models=_visible(person, catalog.models_at(cluster, framework)),
            )
            for _, cluster in sorted(catalog.clusters.items())
            if policy.may_use(person, cluster.access)
            for _, framework in sorted(cluster.frameworks.items())
        ]

    def at(self, person: Person, cluster_name: str, framework_name: str) -> tuple[Model, ...]:
        """Return the models a person may use at one base URL."""
        catalog = self._catalog()
        cluster = catalog.cluster(cluster_name)
        policy.require_cluster(person, cluster)
        framework = cluster.framework(framework_name)
        return _visible(person, catalog.models_at(cluster, framework))

    def one(self, person: Person, cluster_name: str, framework_name: str, model_id: str) -> Model:
        """Return one model at one base URL, or raise `ModelNotFound`."""
        catalog = self._catalog()
        cluster = catalog.cluster(cluster_name)
        policy.require_cluster(person, cluster)
        framework = cluster.framework(framework_name)
        return policy.require_model(person, catalog.model(cluster, framework, model_id), model_id)


def _visible(person: Person, models: list[Model]) -> tuple[Model, ...]:
    return tuple(model for model in models if policy.may_use(person, model.access))
