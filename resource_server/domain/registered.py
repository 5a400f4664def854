"""Every model of the catalog at each of its places, with how it is kept there: for its owners."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from compute_functions.contract import DesiredModel
from resource_server.domain.catalog import Catalog, Deployment, Model
from resource_server.domain.desired import desired_model, override_of
from resource_server.domain.upkeep import Override


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A model at a place. `said` is what operators have said of it beside its file.

    `desired` is what its site is told of it: None where nobody keeps it there.
    """

    model: Model
    place: Deployment
    said: Override
    desired: DesiredModel | None = None

    def configuration(self) -> dict[str, Any]:
        """Return all that is set of it, JSON-ready, by the words of the model's file.

        `min` and `max` are as the file says them; `desired_min` and `desired_max` what they come to
        with what operators said; `loaded_at` is when one last had it loaded (seconds since the
        epoch). Durations are in seconds.
        """
        upkeep, desired = self.place.upkeep, self.desired
        return {
            "model": self.model.id,
            "cluster": self.place.cluster,
            "framework": self.place.framework,
            "engine": self.model.engine,
            "routes": list(self.model.routes),
            "context_length": self.model.context_length,
            "aliases": [alias.name for alias in self.model.aliases],
            "lifecycle": asdict(upkeep) if upkeep else None,
            "desired_min": desired.min if desired else None,
            "desired_max": desired.max if desired else None,
            "pinned": self.said.pinned,
            "disabled": self.said.disabled,
            "unloaded": self.said.unloaded,
            "loaded_at": self.said.loaded_at or None,
        }


def registered(catalog: Catalog) -> Iterator[Registered]:
    """Yield every model at each of its places, by id and as its file lists them."""
    for name, model in sorted(catalog.models.items()):
        for place in model.deployments:
            said, upkeep = override_of(catalog, name, place.cluster), place.upkeep
            desired = desired_model(name, place.framework, upkeep, said) if upkeep else None
            yield Registered(model=model, place=place, said=said, desired=desired)


def said_in_vain(catalog: Catalog) -> Iterator[Override]:
    """Yield what operators have said of models that no file has at that cluster any more."""
    places = {
        (name, place.cluster)
        for name, model in catalog.models.items()
        for place in model.deployments
    }
    for place, said in sorted(catalog.overrides.items()):
        if place not in places:
            yield said
