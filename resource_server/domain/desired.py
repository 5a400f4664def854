"""What is desired of a site: made of the catalog, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compute_functions.contract import FOR_BATCHES, DesiredModel, DesiredState
from resource_server.domain.catalog import Catalog, Deployment
from resource_server.domain.upkeep import Override, Upkeep

_NOTHING_SAID = Override(model="", cluster="")
#: So much lower is the priority of instances for batches: below that of any model for callers.
_BELOW_CALLERS = 10_000_000


def managed(catalog: Catalog, cluster: str) -> Iterator[tuple[str, Deployment, Upkeep]]:
    """Yield each model that is kept at a cluster, by its id, with its place and how it is kept."""
    for name, model in sorted(catalog.models.items()):
        for place in model.deployments:
            if place.cluster == cluster and place.upkeep is not None:
                yield name, place, place.upkeep


def is_managed(catalog: Catalog, place: Deployment) -> bool:
    """Tell whether instances are kept at a place that the catalog still has."""
    return place.upkeep is not None and place.cluster in catalog.clusters


def desired_state(catalog: Catalog, cluster: str) -> DesiredState:
    """Return what is desired of a cluster's site. Equal catalogs give equal states."""
    return DesiredState(
        generation=catalog.generation,
        revision=catalog.version,
        models=(
            *(
                desired_model(name, place.framework, upkeep, override_of(catalog, name, cluster))
                for name, place, upkeep in managed(catalog, cluster)
            ),
            *_for_batches(catalog, cluster),
        ),
    )


def _for_batches(catalog: Catalog, cluster: str) -> Iterator[DesiredModel]:
    """Yield the models that have instances for batches alone, where batches are taken.

    What operators pin or load is for callers; what they unload or disable is so for batches, too.
    """
    if catalog.clusters[cluster].batches is None:
        return
    for name, place, _ in managed(catalog, cluster):
        if place.batch_upkeep is None:
            continue
        said = replace(override_of(catalog, name, cluster), pinned=0)
        found = desired_model(name, place.framework, place.batch_upkeep, said)
        yield replace(found, purpose=FOR_BATCHES, priority=found.priority - _BELOW_CALLERS)


def override_of(catalog: Catalog, model: str, cluster: str) -> Override:
    """Return what operators have said of a model at a cluster; of most they say nothing."""
    return catalog.overrides.get((model, cluster), _NOTHING_SAID)


def desired_model(model: str, framework: str, upkeep: Upkeep, override: Override) -> DesiredModel:
    """Return what is desired of a model at a place."""
    least, most = _bounds(upkeep, override)
    return DesiredModel(
        model=model,
        framework=framework,
        min=least,
        max=most,
        gpus=upkeep.gpus,
        walltime_s=upkeep.walltime_s,
        walltime_ratio=upkeep.walltime_ratio,
        idle_timeout_s=upkeep.idle_timeout_s,
        priority=upkeep.priority,
        refresh=upkeep.refresh,
        autoscale=upkeep.autoscale,
        unloaded_at=override.unloaded_at,
    )


def _bounds(upkeep: Upkeep, override: Override) -> tuple[int, int]:
    if override.disabled:
        return 0, 0
    least = 0 if override.unloaded else upkeep.min
    least = max(least, override.pinned)
    return least, max(upkeep.max, least)
