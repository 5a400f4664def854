"""What a site's and a model's YAML may say, and the domain values it becomes.

The same documents, as JSON, are the `spec` of the catalog's rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator

from resource_server.adapters.catalog_access import AccessSpec
from resource_server.adapters.catalog_batch_terms import BatchTermsSpec
from resource_server.adapters.catalog_batches import BatchesSpec
from resource_server.adapters.catalog_direct import DirectSpec
from resource_server.adapters.catalog_lifecycle import DeploymentSpec, LifecycleSpec
from resource_server.adapters.catalog_names import ModelId, Name, ProjectName
from resource_server.adapters.catalog_part import Spec
from resource_server.adapters.relay_keys import is_public_key
from resource_server.domain.catalog import (
    Alias,
    Cluster,
    Flag,
    Framework,
    GlobusComputeTarget,
    Modality,
    Model,
    Project,
    StreamUsage,
    Transport,
)
from resource_server.domain.inference import INFERENCE_ROUTES
from resource_server.domain.site_functions import SiteFunction

#: Path segments below /resource_server/ that are routes and so cannot be clusters.
TAKEN_NAMES = frozenset(
    {"v1", "docs", "health", "list-endpoints", "openapi.json", "ready", "status", "whoami"}
)
REQUIRED_FUNCTIONS = frozenset({"run_request", "site_status"})
#: What a site without relays needs for batches as well.
BATCH_FUNCTIONS = frozenset(SiteFunction)


class FrameworkSpec(Spec):
    """One serving framework of a site."""

    reserved_fields: tuple[str, ...] = ()
    texts_only: bool = False
    # Left out, the framework's name tells: of those we know, vLLM alone says it in every chunk.
    stream_usage: StreamUsage | None = None
    cache_salt: bool = False
    direct: DirectSpec | None = None

    def to_domain(self, name: str) -> Framework:
        """Return the framework under its name."""
        vllm = name.startswith("vllm")
        usual = StreamUsage.CONTINUOUS if vllm else StreamUsage.FINAL
        return Framework(
            name=name,
            reserved_fields=frozenset(self.reserved_fields),
            texts_only=self.texts_only,
            stream_usage=self.stream_usage or usual,
            cache_salt=self.cache_salt,
            direct=self.direct.to_domain() if self.direct else None,
        )


class GlobusComputeSpec(Spec):
    """Where the site's functions run. `functions` maps names to registered ids.

    `push: false` is for a site that cannot open connections to the gateway.
    """

    client: Name
    endpoint_id: UUID
    functions: dict[str, UUID]
    user_endpoint_config: dict[str, Any] = Field(default_factory=dict)
    push: bool = True

    @field_validator("functions")
    @classmethod
    def _complete(cls, functions: dict[str, UUID]) -> dict[str, UUID]:
        if missing := REQUIRED_FUNCTIONS - functions.keys():
            raise ValueError(f"not registered: {', '.join(sorted(missing))}")
        return functions

    def to_domain(self) -> GlobusComputeTarget:
        """Return the target."""
        return GlobusComputeTarget(
            client=self.client,
            endpoint_id=str(self.endpoint_id),
            functions={name: str(id_) for name, id_ in self.functions.items()},
            user_endpoint_config=self.user_endpoint_config,
            push=self.push,
        )


class RelaySpec(Spec):
    """With what the site's relays identify themselves, as its enrolment printed it."""

    public_key: str

    @field_validator("public_key")
    @classmethod
    def _is_a_key(cls, text: str) -> str:
        if not is_public_key(text):
            raise ValueError("is no Ed25519 key: the base64 of its 32 bytes was expected")
        return text


class SiteSpec(Spec):
    """One cluster: `sites/*.yaml`."""

    cluster: Name
    description: str = ""
    maintenance: str = ""
    access: AccessSpec = AccessSpec()
    frameworks: dict[Name, FrameworkSpec] = Field(min_length=1)
    # The openai SDK gives up after 600 s and asks again by itself: answer before that. Sites refuse
    # to wait longer than an hour.
    request_timeout_s: float = Field(540.0, gt=0, le=3600)
    globus_compute: GlobusComputeSpec | None = None
    relay: RelaySpec | None = None
    batches: BatchesSpec | None = Field(None, validate_default=True)
    # The last field, so that it can be held against the others. Left out, it is all ways there are,
    # the fastest first.
    transports: tuple[Transport, ...] = Field((), validate_default=True)

    @field_validator("transports")
    @classmethod
    def _ways_exist(
        cls, transports: tuple[Transport, ...], info: ValidationInfo
    ) -> tuple[Transport, ...]:
        if len(set(transports)) < len(transports):
            raise ValueError("a way is listed twice")
        if not {"relay", "frameworks", "globus_compute"} <= info.data.keys():
            # What holds a mistake of its own is not there, and is not missing.
            return transports
        described = _described(info.data)
        if not described:
            raise ValueError("there is no way: name globus_compute, relay or a framework's direct")
        for transport in transports:
            if transport not in described:
                raise ValueError(f"'{transport}' needs the field {_FIELDS[transport]}")
        return transports or described

    @field_validator("batches")
    @classmethod
    def _can_be_told(cls, batches: BatchesSpec | None, info: ValidationInfo) -> BatchesSpec | None:
        if batches is None or not {"relay", "globus_compute"} <= info.data.keys():
            return batches
        target = info.data["globus_compute"]
        if target is None and info.data["relay"] is None:
            raise ValueError("needs the field relay or globus_compute: nobody there can be told")
        missing = BATCH_FUNCTIONS - target.functions.keys() if target else frozenset()
        if missing and info.data["relay"] is None:
            raise ValueError(f"not registered: {', '.join(sorted(missing))}")
        return batches

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
            frameworks={name: spec.to_domain(name) for name, spec in self.frameworks.items()},
            transports=self.transports,
            request_timeout_s=self.request_timeout_s,
            globus_compute=self.globus_compute.to_domain() if self.globus_compute else None,
            relay_key=self.relay.public_key if self.relay else "",
            batches=self.batches.to_domain() if self.batches else None,
        )


#: What describes each way.
_FIELDS = {
    Transport.RELAY: "relay",
    Transport.DIRECT: "direct of a framework",
    Transport.TASK: "globus_compute",
}


def _described(fields: Mapping[str, Any]) -> tuple[Transport, ...]:
    """Return the ways that a site's fields describe, the fastest first."""
    means = {
        Transport.RELAY: fields["relay"],
        Transport.DIRECT: any(spec.direct for spec in fields["frameworks"].values()),
        Transport.TASK: fields["globus_compute"],
    }
    return tuple(way for way, described in means.items() if described)


class AliasSpec(Spec):
    """Another name of a model, with parameters of its own where it has any."""

    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_validator("parameters")
    @classmethod
    def _can_be_set(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        if fixed := sorted(parameters.keys() & {"model", "stream"}):
            raise ValueError(f"'{fixed[0]}' is the caller's to set")
        return parameters


class ModelSpec(Spec):
    """One model: `models/*.yaml`.

    `engine`, `path`, `arguments` and `copy_weights` are for the site; the gateway only shows which
    engine it is. Of `batch` it takes how instances for batches alone are kept.
    """

    id: ModelId
    description: str = ""
    owned_by: str = ""
    lifecycle: LifecycleSpec | None = None
    deployments: tuple[DeploymentSpec, ...] = Field(min_length=1)
    routes: tuple[str, ...] = Field(("chat/completions", "completions"), min_length=1)
    flags: frozenset[Flag] = frozenset()
    modalities: frozenset[Modality] = frozenset()
    context_length: int | None = Field(None, gt=0)
    aliases: dict[ModelId, AliasSpec] = Field(default_factory=dict)
    recommended: dict[str, Any] = Field(default_factory=dict)
    access: AccessSpec = AccessSpec()
    engine: str | None = None
    path: str | None = None
    arguments: tuple[str, ...] = ()
    copy_weights: bool = False
    batch: BatchTermsSpec = BatchTermsSpec()

    @field_validator("batch")
    @classmethod
    def _can_be_kept(cls, batch: BatchTermsSpec, info: ValidationInfo) -> BatchTermsSpec:
        if not batch.is_own or not {"flags", "lifecycle", "deployments"} <= info.data.keys():
            return batch
        if Flag.BATCH not in info.data["flags"]:
            raise ValueError("placement: own, and the model has no flag B: it takes no batches")
        usual = info.data["lifecycle"]
        if not any(place.upkeep(usual) for place in info.data["deployments"]):
            raise ValueError("placement: own needs a lifecycle: nobody starts instances of it")
        return batch

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

    # Of fields and not of the whole, which is looked at when all its fields are right: all mistakes
    # are named at once.
    @field_validator("deployments")
    @classmethod
    def _distinct_places(
        cls, deployments: tuple[DeploymentSpec, ...], info: ValidationInfo
    ) -> tuple[DeploymentSpec, ...]:
        if len({(place.cluster, place.framework) for place in deployments}) < len(deployments):
            raise ValueError("a deployment is listed twice")
        for place in deployments if "lifecycle" in info.data else ():
            place.upkeep(info.data["lifecycle"])
        return deployments

    @field_validator("aliases")
    @classmethod
    def _not_the_id(
        cls, aliases: dict[str, AliasSpec], info: ValidationInfo
    ) -> dict[str, AliasSpec]:
        if info.data.get("id") in aliases:
            raise ValueError("an alias is the model's own id")
        return aliases

    def to_domain(self, *, created: int) -> Model:
        """Return the model, first seen at `created` (seconds since the epoch)."""
        return Model(
            id=self.id,
            description=self.description,
            owned_by=self.owned_by or self.id.partition("/")[0],
            created=created,
            deployments=tuple(
                place.to_domain(self.lifecycle, self.batch) for place in self.deployments
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
            engine=self.engine,
        )


class ProjectSpec(Spec):
    """One project: `projects/*.yaml`. Without `models` its members use what they may anyway."""

    project: ProjectName
    description: str = ""
    models: frozenset[ModelId] = frozenset()
    access: AccessSpec = Field(AccessSpec(), validate_default=True)

    @field_validator("access")
    @classmethod
    def _somebody_is_in_it(cls, access: AccessSpec) -> AccessSpec:
        if access == AccessSpec():
            raise ValueError("who is in the project? Name groups or domains")
        return access

    def to_domain(self) -> Project:
        """Return the project."""
        return Project(
            name=self.project,
            description=self.description,
            models=self.models,
            access=self.access.to_domain(),
        )
