"""What can be asked for, and where: clusters, frameworks and models, looked up in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from resource_server.domain import errors


class Transport(StrEnum):
    """How a request travels from the gateway to a cluster."""

    TASK = "task"


class Flag(StrEnum):
    """What a model can do beyond answering: batches, tool calls, reasoning."""

    BATCH = "B"
    TOOLS = "T"
    REASONING = "R"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """Who may use something: everyone, or members of any group who come from any domain named.

    An empty set does not restrict.
    """

    groups: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobusComputeTarget:
    """Where a cluster's functions run: ids of the endpoint and of the registered functions.

    `client` names the file with the cluster's confidential Globus client in the gateway's
    directory of clients. `user_endpoint_config` fills the site's endpoint template.
    """

    client: str
    endpoint_id: str
    functions: Mapping[str, str]
    user_endpoint_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One serving framework of a cluster, as `vllm`.

    `reserved_fields` are the body fields that callers may not set, beside those that are
    reserved everywhere.
    """

    name: str
    reserved_fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster. `request_timeout_s` is how long a caller waits for an answer at most."""

    name: str
    description: str
    frameworks: Mapping[str, Framework]
    transports: tuple[Transport, ...]
    globus_compute: GlobusComputeTarget
    request_timeout_s: float
    maintenance: str = ""
    access: AccessRule = AccessRule()

    def framework(self, name: str) -> Framework:
        """Return one of the frameworks, or raise `FrameworkNotFound`."""
        framework = self.frameworks.get(name)
        if framework is None:
            offered = ", ".join(sorted(self.frameworks))
            raise errors.FrameworkNotFound(
                f"The cluster '{self.name}' has no framework '{name}'. It offers: {offered}."
            )
        return framework


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One place that serves a model."""

    cluster: str
    framework: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model, under the id that callers and the engine use.

    `routes` are paths below `/v1/`, as `chat/completions`. `created` is seconds since the epoch.
    """

    id: str
    description: str
    owned_by: str
    created: int
    deployments: tuple[Deployment, ...]
    routes: tuple[str, ...]
    flags: frozenset[Flag] = frozenset()
    context_length: int | None = None
    access: AccessRule = AccessRule()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where one request goes."""

    cluster: Cluster
    framework: Framework
    model: Model


class Catalog:
    """A snapshot of everything on offer. It never changes; a reload makes a new one."""

    def __init__(
        self, clusters: Iterable[Cluster] = (), models: Iterable[Model] = (), *, version: int = 0
    ) -> None:
        self.version = version
        self.clusters = {cluster.name: cluster for cluster in clusters}
        self.models = {model.id: model for model in models}
        self._by_place = {
            (place.cluster, place.framework, model.id): model
            for model in self.models.values()
            for place in model.deployments
        }

    def cluster(self, name: str) -> Cluster:
        """Return the cluster, or raise `ClusterNotFound`."""
        cluster = self.clusters.get(name)
        if cluster is None:
            raise errors.ClusterNotFound(
                f"There is no cluster '{name}'. GET /resource_server/list-endpoints names yours."
            )
        return cluster

    def model(self, cluster: Cluster, framework: Framework, model_id: str) -> Model | None:
        """Return the model if it is served there."""
        return self._by_place.get((cluster.name, framework.name, model_id))

    def models_at(self, cluster: Cluster, framework: Framework) -> list[Model]:
        """Return the models served there, by id."""
        return [
            model
            for (at_cluster, at_framework, _), model in sorted(self._by_place.items())
            if (at_cluster, at_framework) == (cluster.name, framework.name)
        ]
