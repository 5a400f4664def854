"""What can be asked for, and where: clusters, frameworks and models, looked up in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from resource_server.domain import errors
from resource_server.domain.batch_offer import BatchOffer
from resource_server.domain.inference import RESERVED_EVERYWHERE
from resource_server.domain.upkeep import Override, Upkeep


class Transport(StrEnum):
    """How a request travels from the gateway to a cluster."""

    RELAY = "relay"
    TASK = "task"
    DIRECT = "direct"


class Flag(StrEnum):
    """What a model can do beyond answering: batches, tool calls, reasoning."""

    BATCH = "B"
    TOOLS = "T"
    REASONING = "R"


class Modality(StrEnum):
    """What a model takes beside text."""

    IMAGE = "image"
    AUDIO = "audio"


class Counting(StrEnum):
    """Which identities of a person a rule looks at."""

    SESSION = "session"
    ACCOUNT = "account"


class StreamUsage(StrEnum):
    """How an engine can be asked to say, within a streamed answer, what was used."""

    #: In every chunk, so that it is also known of an answer that breaks off (vLLM).
    CONTINUOUS = "continuous"
    #: In a chunk at the end, as OpenAI does.
    FINAL = "final"
    #: Not at all: it refuses `stream_options`.
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginPolicy:
    """A Globus authentication policy that a login must meet.

    With `max_age_s` the login must also be younger than this, at every single request.
    """

    id: str
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """Who may use something. What is empty does not restrict; what is not must all be met.

    - `groups`: an active membership in any of these Globus groups.
    - `domains`: an identity of any of these identity providers' domains.
    - `groups_by_domain`: who comes from a domain named here needs one of its groups; `*` is for
      everybody from any other domain.
    - `policies`, `login_max_age_s`: what the login of this session must be like.

    `domains_of` tells whether an identity that is linked but was not used to log in counts for
    domains, `groups_of` the same for memberships. `service_accounts` are ids of the Globus clients
    that may use it; who they are is described at `policy.may_see`.
    """

    groups: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    groups_by_domain: Mapping[str, frozenset[str]] = field(default_factory=dict)
    policies: tuple[LoginPolicy, ...] = ()
    login_max_age_s: float | None = None
    service_accounts: frozenset[str] = frozenset()
    domains_of: Counting = Counting.SESSION
    groups_of: Counting = Counting.ACCOUNT
    #: Whether the rule restricts nobody.
    is_open: bool = field(init=False, repr=False, compare=False)
    #: Whether it matters how, when and as whom somebody logged in.
    looks_at_logins: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out once what is asked several times for each request."""
        about_logins = bool(
            self.policies
            or self.domains
            or self.groups_by_domain
            or self.login_max_age_s is not None
        )
        is_open = not (about_logins or self.groups or self.service_accounts)
        object.__setattr__(self, "is_open", is_open)
        object.__setattr__(
            self, "looks_at_logins", about_logins or self.groups_of is Counting.SESSION
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobusComputeTarget:
    """Where a cluster's functions run: ids of the endpoint and of the registered functions.

    `client` names the file with the cluster's confidential Globus client in the gateway's
    directory of clients. `user_endpoint_config` fills the site's endpoint template. With `push` the
    site may open connections to the gateway, and pushes streams.
    """

    client: str
    endpoint_id: str
    functions: Mapping[str, str]
    user_endpoint_config: Mapping[str, Any] = field(default_factory=dict)
    push: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectTarget:
    """An engine or a whole service that the gateway reaches over HTTP.

    `url` is what stands before `/v1/`. The key and the certificates are in files; `headers` go with
    each request. `models` are the names that it knows our models by, where they differ.
    """

    url: str
    api_key_file: str = ""
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One serving framework of a cluster, as `vllm`.

    `reserved_fields` are the body fields that callers may not set, beside those that are
    reserved everywhere. An engine that takes `texts_only` knows no lists of token numbers. One that
    has a `cache_salt` keeps the cached prefixes of different people apart. One with a `direct`
    target can be reached by the gateway itself.
    """

    name: str
    reserved_fields: frozenset[str] = frozenset()
    texts_only: bool = False
    stream_usage: StreamUsage = StreamUsage.FINAL
    cache_salt: bool = False
    direct: DirectTarget | None = None

    @property
    def reserved(self) -> frozenset[str]:
        """All body fields that callers may not set here."""
        return RESERVED_EVERYWHERE | self.reserved_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster. `request_timeout_s` is how long a caller waits for an answer at most.

    `relay_key` is the public key with which the site enrolled for relays: the base64 of an Ed25519
    key's 32 bytes, nothing for a site without relays. `transports` are the ways there, the
    preferred one first. Without `globus_compute` nobody there can be asked what runs. Without
    `batches` it takes none.
    """

    name: str
    description: str
    frameworks: Mapping[str, Framework]
    transports: tuple[Transport, ...]
    request_timeout_s: float
    globus_compute: GlobusComputeTarget | None = None
    maintenance: str = ""
    access: AccessRule = AccessRule()
    relay_key: str = ""
    batches: BatchOffer | None = None

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
    """One place that serves a model; without `upkeep` somebody else starts its instances there.

    With `batch_upkeep` there are others beside them, for batches alone.
    """

    cluster: str
    framework: str
    upkeep: Upkeep | None = None
    batch_upkeep: Upkeep | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Another name of a model: a short one, or one with parameters of its own.

    `parameters` are put into a body where the caller says nothing else.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model, under the id that callers and the engine use.

    `routes` are paths below `/v1/`, as `chat/completions`. `created` is seconds since the epoch.
    `modalities` is what it takes beside text. `recommended` are the values of parameters that its
    makers advise; nobody applies them. `engine` is by which the site runs it, as far as its file
    says so.
    """

    id: str
    description: str
    owned_by: str
    created: int
    deployments: tuple[Deployment, ...]
    routes: tuple[str, ...]
    flags: frozenset[Flag] = frozenset()
    modalities: frozenset[Modality] = frozenset()
    context_length: int | None = None
    aliases: tuple[Alias, ...] = ()
    recommended: Mapping[str, Any] = field(default_factory=dict)
    access: AccessRule = AccessRule()
    engine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project, under its accounting string: whose members call models on its account.

    Without `models` its members may use all that they may use anyway.
    """

    name: str
    description: str = ""
    models: frozenset[str] = frozenset()
    access: AccessRule = AccessRule()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A model under one of its names; `alias` is None for its id."""

    model: Model
    alias: Alias | None = None

    @property
    def name(self) -> str:
        """The name it was asked for by."""
        return self.alias.name if self.alias else self.model.id


class Catalog:
    """A snapshot of everything on offer. It never changes; a reload makes a new one.

    `version` grows with every change. `generation` grows when an operator says so, once the
    database was restored from an older copy. `overrides` are found by model and cluster.
    """

    def __init__(
        self,
        clusters: Iterable[Cluster] = (),
        models: Iterable[Model] = (),
        projects: Iterable[Project] = (),
        *,
        overrides: Iterable[Override] = (),
        generation: int = 1,
        version: int = 0,
    ) -> None:
        self.version = version
        self.generation = generation
        self.overrides = {(said.model, said.cluster): said for said in overrides}
        self.clusters = {cluster.name: cluster for cluster in clusters}
        self.models = {model.id: model for model in models}
        self.projects = {project.name: project for project in projects}
        by_alias = {
            alias.name: NamedModel(model=model, alias=alias)
            for model in self.models.values()
            for alias in model.aliases
        }
        # An id before an alias: a row of another origin may bring a model of an alias's name.
        self._by_name = by_alias | {name: NamedModel(model=m) for name, m in self.models.items()}

    def cluster(self, name: str) -> Cluster:
        """Return the cluster, or raise `ClusterNotFound`."""
        cluster = self.clusters.get(name)
        if cluster is None:
            raise errors.ClusterNotFound(
                f"There is no cluster '{name}'. GET /resource_server/list-endpoints names yours."
            )
        return cluster

    def named(self, name: str) -> NamedModel | None:
        """Return the model of a name or an alias, if there is one."""
        return self._by_name.get(name)

    def names(self) -> list[NamedModel]:
        """Return every model under each of its names, by name."""
        return [found for _, found in sorted(self._by_name.items())]
