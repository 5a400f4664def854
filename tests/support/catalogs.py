"""Small catalogs for tests: clusters, models and people who may use some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from resource_server.domain.catalog import (
    AccessRule,
    Alias,
    Cluster,
    Deployment,
    Flag,
    Framework,
    GlobusComputeTarget,
    Modality,
    Model,
    StreamUsage,
    Transport,
)

#: What the engines of the tests' clusters may not be told.
FRAMEWORKS = {
    "vllm": Framework(
        name="vllm",
        reserved_fields=frozenset({"priority"}),
        stream_usage=StreamUsage.CONTINUOUS,
    ),
    "infinity": Framework(name="infinity", texts_only=True),
}


def members(*groups: str) -> AccessRule:
    """Return a rule that admits the members of groups."""
    return AccessRule(groups=frozenset(groups))


def cluster(
    name: str = "local", *, access: AccessRule | None = None, maintenance: str = ""
) -> Cluster:
    """Return a cluster with the frameworks above."""
    return Cluster(
        name=name,
        description="",
        frameworks=FRAMEWORKS,
        transports=(Transport.TASK,),
        globus_compute=GlobusComputeTarget(client=name, endpoint_id="e", functions={}),
        request_timeout_s=17,
        maintenance=maintenance,
        access=access or AccessRule(),
    )


def model(
    name: str = "a/b",
    *places: str,
    routes: Iterable[str] = ("chat/completions", "completions"),
    aliases: Mapping[str, Mapping[str, object]] | None = None,
    modalities: Iterable[Modality] = (),
    access: AccessRule | None = None,
) -> Model:
    """Return a model served at places given as `cluster` or `cluster/framework`."""
    return Model(
        id=name,
        description="",
        owned_by=name.partition("/")[0],
        created=1_800_000_000,
        deployments=tuple(_place(place) for place in places or ("local",)),
        routes=tuple(routes),
        flags=frozenset({Flag.TOOLS}),
        context_length=2048,
        modalities=frozenset(modalities),
        aliases=tuple(
            Alias(name=alias, parameters=parameters)
            for alias, parameters in (aliases or {}).items()
        ),
        access=access or AccessRule(),
    )


def _place(place: str) -> Deployment:
    name, _, framework = place.partition("/")
    return Deployment(cluster=name, framework=framework or "vllm")
