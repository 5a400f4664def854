"""Where a request may go: what its URL and its model's name leave to choose from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from resource_server.domain import errors, policy
from resource_server.domain.catalog import (
    Catalog,
    Cluster,
    Deployment,
    Framework,
    Model,
    NamedModel,
    Project,
)
from resource_server.domain.identity import Person
from resource_server.domain.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a base URL says: a cluster and a framework, a project, or nothing."""

    cluster: str | None = None
    framework: str | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One place that serves the model asked for; with `upkeep` it can be started there."""

    cluster: Cluster
    framework: Framework
    upkeep: Upkeep | None = None

    @property
    def deployment(self) -> Deployment:
        """The same in the words of the model's file."""
        return Deployment(
            cluster=self.cluster.name, framework=self.framework.name, upkeep=self.upkeep
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model under the name asked for, and the places that serve it, best first."""

    named: NamedModel
    destinations: tuple[Destination, ...]


def choose(catalog: Catalog, person: Person, base: Base, name: str) -> Choice:
    """Return where a request for a model may go; there is one place at least.

    The places stand in the order of the model's file, those under maintenance last. Raises
    `Forbidden` or a `NotFound`.
    """
    project = _project(catalog, person, base)
    _require_place(catalog, person, base)
    found = catalog.named(name)
    model = policy.require_model(person, found.model if found else None, name)
    seen = tuple(_places(catalog, person, base, model))
    if found is None or not seen or not _in_project(project, model):
        raise policy.no_such_model(name)
    return Choice(named=found, destinations=_usable(person, seen))


def names_at(catalog: Catalog, person: Person, base: Base) -> list[NamedModel]:
    """Return the models that a person may know of at a base URL, under all names and by name.

    Among them may be some that take a better login than this one; asking for them says which.
    """
    project = _project(catalog, person, base)
    _require_place(catalog, person, base)
    return [
        named
        for named in catalog.names()
        if policy.may_see(person, named.model.access)
        and _in_project(project, named.model)
        and any(_exactly(base, place) for place in _places(catalog, person, base, named.model))
    ]


def require_base(catalog: Catalog, person: Person, base: Base) -> None:
    """Raise `Forbidden` or a `NotFound` if a base URL leads nowhere for somebody."""
    _project(catalog, person, base)
    _require_place(catalog, person, base)


def _usable(person: Person, seen: tuple[Destination, ...]) -> tuple[Destination, ...]:
    """Return the places for which this login will do; raises what says so if there is none."""
    usable = [place for place in seen if policy.may_use(person, place.cluster.access)]
    if not usable:
        policy.require_cluster(person, seen[0].cluster)
    return tuple(sorted(usable, key=lambda place: bool(place.cluster.maintenance)))


def _project(catalog: Catalog, person: Person, base: Base) -> Project | None:
    """Return the project of the URL; raises `ProjectNotFound` if the person is not in it."""
    if base.project is None:
        return None
    project = catalog.projects.get(base.project)
    if project is None or not policy.may_see(person, project.access):
        raise errors.ProjectNotFound(
            f"There is no project '{base.project}', or '{person.primary.username}' is not in it."
        )
    policy.require_login(person, project.access, f"the project '{base.project}'")
    return project


def _in_project(project: Project | None, model: Model) -> bool:
    return project is None or not project.models or model.id in project.models


def _require_place(catalog: Catalog, person: Person, base: Base) -> None:
    """Raise an error if the URL names a place that is none, or that the person may not use."""
    if base.cluster is None or base.framework is None:
        return
    cluster = catalog.cluster(base.cluster)
    policy.require_cluster(person, cluster)
    cluster.framework(base.framework)


def _places(catalog: Catalog, person: Person, base: Base, model: Model) -> Iterator[Destination]:
    """Yield the places that serve a model, and that the URL leaves and the person may know of.

    At a cluster's URL the framework named comes first, but another one of the same cluster will
    do: users of ALCF's examples ask for embeddings below `vllm`.
    """
    places = [
        Destination(
            cluster=cluster, framework=cluster.frameworks[place.framework], upkeep=place.upkeep
        )
        for place in model.deployments
        if (cluster := catalog.clusters.get(place.cluster)) is not None
        and place.framework in cluster.frameworks
        and base.cluster in (None, cluster.name)
        and policy.may_see(person, cluster.access)
    ]
    yield from sorted(places, key=lambda place: not _exactly(base, place))


def _exactly(base: Base, place: Destination) -> bool:
    return base.framework in (None, place.framework.name)
