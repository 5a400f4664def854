"""What a site's and a model's YAML may say, and the domain values it becomes.

The same documents, as JSON, are the `spec` of the catalog's rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from resource_server.domain.catalog import (
    AccessRule,
    Alias,
    Cluster,
    Counting,
    Deployment,
    Flag,
    Framework,
    GlobusComputeTarget,
    LoginPolicy,
    Modality,
    Model,
    Project,
    Transport,
)
from resource_server.domain.inference import INFERENCE_ROUTES

#: Path segments below /resource_server/ that are routes and so cannot be clusters.
TAKEN_NAMES = frozenset(
    {"v1", "docs", "health", "list-endpoints", "openapi.json", "ready", "status", "whoami"}
)
REQUIRED_FUNCTIONS = frozenset({"run_request", "site_status"})

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
ModelId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$")]
ProjectName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
#: Fields of documents that are sets.
_SETS = frozenset({"flags", "modalities", "models"})


class _Spec(BaseModel):
    """A part of a document: a field that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_row(self) -> dict[str, Any]:
        """Return the JSON of a catalog row, the same for equal documents."""
        row: dict[str, Any] = self.model_dump(mode="json")
        for name in _SETS & row.keys():
            row[name] = sorted(row[name])  # A set has no order of its own.
        return row


class LoginPolicySpec(_Spec):
    """A Globus authentication policy: its id alone, `<id>=<seconds>`, or both as fields."""

    id: UUID
    max_age_s: float | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        id_, _, max_age_s = value.partition("=")
        return {"id": id_, "max_age_s": max_age_s} if max_age_s else {"id": id_}

    def to_domain(self) -> LoginPolicy:
        """Return the policy."""
        return LoginPolicy(id=str(self.id), max_age_s=self.max_age_s)


class AccessSpec(_Spec):
    """Who may use something; what is left out does not restrict. See `AccessRule`."""

    groups: tuple[UUID, ...] = ()
    domains: tuple[str, ...] = ()
    groups_by_domain: dict[str, tuple[UUID, ...]] = {}
    policies: tuple[LoginPolicySpec, ...] = ()
    login_max_age_s: float | None = Field(None, gt=0)
    service_accounts: tuple[UUID, ...] = ()
    domains_of: Counting = Counting.SESSION
    groups_of: Counting = Counting.ACCOUNT

    def to_domain(self) -> AccessRule:
        """Return the rule."""
        return AccessRule(
            groups=_ids(self.groups),
            domains=frozenset(domain.lower() for domain in self.domains),
            groups_by_domain={d.lower(): _ids(ids) for d, ids in self.groups_by_domain.items()},
            policies=tuple(policy.to_domain() for policy in self.policies),
            login_max_age_s=self.login_max_age_s,
            service_accounts=_ids(self.service_accounts),
            domains_of=self.domains_of,
            groups_of=self.groups_of,
        )


def _ids(ids: Iterable[UUID]) -> frozenset[str]:
    return frozenset(map(str, ids))


class FrameworkSpec(_Spec):
    """One serving framework of a site."""

    reserved_fields: tuple[str, ...] = ()
    texts_only: bool = False


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
                name: Framework(
                    name=name,
                    reserved_fields=frozenset(spec.reserved_fields),
                    texts_only=spec.texts_only,
                )
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


class AliasSpec(_Spec):
    """Another name of a model, with parameters of its own where it has any."""

    description: str = ""
    parameters: dict[str, Any] = {}

    @field_validator("parameters")
    @classmethod
    def _can_be_set(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        if fixed := sorted(parameters.keys() & {"model", "stream"}):
            raise ValueError(f"'{fixed[0]}' is the caller's to set")
        return parameters


class ModelSpec(_Spec):
    """One model: `models/*.yaml`.

    `engine`, `path` and `arguments` are for the site's launcher; the gateway ignores them.
    """

    id: ModelId
    description: str = ""
    owned_by: str = ""
    deployments: tuple[DeploymentSpec, ...] = Field(min_length=1)
    routes: tuple[str, ...] = Field(("chat/completions", "completions"), min_length=1)
    flags: frozenset[Flag] = frozenset()
    modalities: frozenset[Modality] = frozenset()
    context_length: int | None = Field(None, gt=0)
    aliases: dict[ModelId, AliasSpec] = {}
    recommended: dict[str, Any] = {}
    access: AccessSpec = AccessSpec()
    engine: str | None = None
    path: str | None = None
    arguments: tuple[str, ...] = ()

    @field_validator("routes")
    @classmethod
    def _known(cls, routes: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(routes) - INFERENCE_ROUTES):
            known = ", ".join(sorted(INFERENCE_ROUTES))
            raise ValueError(f"'{unknown[0]}' is no route; there are {known}")
        return routes

    @field_validator("aliases", mode="before")
    @classmethod
    def _empty_is_plain(cls, aliases: object) -> object:
        """Take an alias without anything, which YAML reads as nothing, for a plain one."""
        if not isinstance(aliases, dict):
            return aliases
        return {name: {} if spec is None else spec for name, spec in aliases.items()}

    @model_validator(mode="after")
    def _distinct_places(self) -> Self:
        if len(set(self.deployments)) < len(self.deployments):
            raise ValueError("a deployment is listed twice")
        if self.id in self.aliases:
            raise ValueError("an alias is the model's own id")
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
            modalities=self.modalities,
            context_length=self.context_length,
            aliases=tuple(
                Alias(name=name, description=spec.description, parameters=spec.parameters)
                for name, spec in sorted(self.aliases.items())
            ),
            recommended=self.recommended,
            access=self.access.to_domain(),
        )


class ProjectSpec(_Spec):
    """One project: `projects/*.yaml`. Without `models` its members use what they may anyway."""

    project: ProjectName
    description: str = ""
    models: frozenset[ModelId] = frozenset()
    access: AccessSpec = AccessSpec()

    @model_validator(mode="after")
    def _somebody_is_in_it(self) -> Self:
        if self.access == AccessSpec():
            raise ValueError("access: who is in the project? Name groups or domains")
        return self

    def to_domain(self) -> Project:
        """Return the project."""
        return Project(
            name=self.project,
            description=self.description,
            models=self.models,
            access=self.access.to_domain(),
        )
