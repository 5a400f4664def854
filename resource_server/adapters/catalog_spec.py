"""What a site's and a model's YAML may say, and the domain values it becomes.

The same documents, as JSON, are the `spec` of the catalog's rows.
"""

from __future__ import annotations

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from resource_server.domain.catalog import (
    AccessRule,
    Cluster,
    Deployment,
    Flag,
    Framework,
    GlobusComputeTarget,
    Model,
    Transport,
)

#: Path segments below /resource_server/ that are routes and so cannot be clusters.
TAKEN_NAMES = frozenset(
    {"v1", "docs", "health", "list-endpoints", "openapi.json", "ready", "status", "whoami"}
)
REQUIRED_FUNCTIONS = frozenset({"run_request", "site_status"})

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
ModelId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$")]
RoutePath = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_/-]*$")]


class _Spec(BaseModel):
    """A part of a document: a field that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_row(self) -> dict[str, Any]:
        """Return the JSON of a catalog row, the same for equal documents."""
        row: dict[str, Any] = self.model_dump(mode="json")
        if "flags" in row:
            row["flags"] = sorted(row["flags"])  # A set has no order of its own.
        return row


class AccessSpec(_Spec):
    """Who may use something; empty lists do not restrict."""

    groups: tuple[UUID, ...] = ()
    domains: tuple[str, ...] = ()

    def to_domain(self) -> AccessRule:
        """Return the rule."""
        return AccessRule(
            groups=frozenset(str(group) for group in self.groups),
            domains=frozenset(domain.lower() for domain in self.domains),
        )


class FrameworkSpec(_Spec):
    """One serving framework of a site."""

    reserved_fields: tuple[str, ...] = ()


class GlobusComputeSpec(_Spec):
    """Where the site's functions run. `functions` maps names to registered ids."""

    client: Name
    endpoint_id: UUID
    functions: dict[str, UUID]
    user_endpoint_config: dict[str, Any] = {}

    @field_validator("functions")
    @classmethod
    def _complete(cls, functions: dict[str, UUID]) -> dict[str, UUID]:
        if missing := REQUIRED_FUNCTIONS - functions.keys():
            raise ValueError(f"not registered: {', '.join(sorted(missing))}")
        return functions


class SiteSpec(_Spec):
    """One cluster: `sites/*.yaml`."""

    cluster: Name
    description: str = ""
    maintenance: str = ""
    access: AccessSpec = AccessSpec()
    frameworks: dict[Name, FrameworkSpec] = Field(min_length=1)
    transports: tuple[Transport, ...] = Field((Transport.TASK,), min_length=1)
    # The openai SDK gives up after 600 s and asks again by itself: answer before that. Sites refuse
    # to wait longer than an hour.
    request_timeout_s: float = Field(540.0, gt=0, le=3600)
    globus_compute: GlobusComputeSpec

    @field_validator("cluster")
    @classmethod
    def _not_taken(cls, name: str) -> str:
        if name in TAKEN_NAMES:
            raise ValueError(f"'{name}' is a route of the gateway and cannot name a cluster")
        return name

    def to_domain(self) -> Cluster:
        """Return the cluster."""
        return Cluster(
            name=self.cluster,
            description=self.description,
            maintenance=self.maintenance,
            access=self.access.to_domain(),
            frameworks={
                name: Framework(name=name, reserved_fields=frozenset(spec.reserved_fields))
                for name, spec in self.frameworks.items()
            },
            transports=self.transports,
            request_timeout_s=self.request_timeout_s,
            globus_compute=GlobusComputeTarget(
                client=self.globus_compute.client,
                endpoint_id=str(self.globus_compute.endpoint_id),
                functions={name: str(id_) for name, id_ in self.globus_compute.functions.items()},
                user_endpoint_config=self.globus_compute.user_endpoint_config,
            ),
        )


class DeploymentSpec(_Spec):
    """One place that serves a model."""

    cluster: Name
    framework: Name


class ModelSpec(_Spec):
    """One model: `models/*.yaml`.

    `engine`, `path` and `arguments` are for the site's launcher; the gateway ignores them.
    """

    id: ModelId
    description: str = ""
    owned_by: str = ""
    deployments: tuple[DeploymentSpec, ...] = Field(min_length=1)
    routes: tuple[RoutePath, ...] = Field(("chat/completions", "completions"), min_length=1)
    flags: frozenset[Flag] = frozenset()
    context_length: int | None = Field(None, gt=0)
    access: AccessSpec = AccessSpec()
    engine: str | None = None
    path: str | None = None
    arguments: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _distinct_places(self) -> Self:
        if len(set(self.deployments)) < len(self.deployments):
            raise ValueError("a deployment is listed twice")
        return self

    def to_domain(self, *, created: int) -> Model:
        """Return the model, first seen at `created` (seconds since the epoch)."""
        return Model(
            id=self.id,
            description=self.description,
            owned_by=self.owned_by or self.id.partition("/")[0],
            created=created,
            deployments=tuple(
                Deployment(cluster=place.cluster, framework=place.framework)
                for place in self.deployments
            ),
            routes=self.routes,
            flags=self.flags,
            context_length=self.context_length,
            access=self.access.to_domain(),
        )
