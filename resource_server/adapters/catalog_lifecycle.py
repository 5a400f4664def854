"""What a model's YAML may say of how its instances are kept: `lifecycle`, and where that is."""

from __future__ import annotations

import re
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from compute_functions.contract.lifecycle import MOST_GPUS, MOST_INSTANCES
from resource_server.adapters.catalog_names import Name
from resource_server.adapters.catalog_part import Spec
from resource_server.domain.catalog import Deployment
from resource_server.domain.upkeep import Upkeep

#: A scheduler counts walltimes in minutes; a month is more than any partition gives (seconds).
SHORTEST_WALLTIME_S = 60.0
LONGEST_WALLTIME_S = 31 * 86_400.0
#: The walltime where no file names one (seconds; requirement L-22).
USUAL_WALLTIME_S = 3600.0
_CLOCK = re.compile(r"([0-9]{1,3}):([0-5][0-9]):([0-5][0-9])")


def _seconds(value: object) -> object:
    """Return `HH:MM:SS` as seconds; what is no text is looked at by its field."""
    if not isinstance(value, str):
        return value
    clock = _CLOCK.fullmatch(value)
    if clock is None:
        raise ValueError('must be seconds, or as "12:30:00"')
    hours, minutes, seconds = map(int, clock.groups())
    return 3600 * hours + 60 * minutes + seconds


Seconds = Annotated[float, BeforeValidator(_seconds)]


class LifecycleSpec(Spec):
    """How instances are kept. Below `deployments` it says what differs at one place.

    What is left out in both has the value of `Upkeep`; only `gpus` has none.
    """

    gpus: int | None = Field(None, ge=0, le=MOST_GPUS)
    walltime: Seconds | None = Field(None, ge=SHORTEST_WALLTIME_S, le=LONGEST_WALLTIME_S)
    walltime_ratio: float | None = Field(None, gt=0, le=1)
    min: int | None = Field(None, ge=0, le=MOST_INSTANCES)
    max: int | None = Field(None, ge=0, le=MOST_INSTANCES)
    idle_timeout: Seconds | None = Field(None, ge=0, le=LONGEST_WALLTIME_S)
    priority: int | None = Field(None, ge=-1_000_000, le=1_000_000)
    refresh: bool | None = None
    autoscale: bool | None = None

    @field_validator("max")
    @classmethod
    def _not_below_min(cls, most: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min")
        if most is not None and least is not None and least > most:
            raise ValueError("is less than min")
        return most


class BatchKeeping(Protocol):
    """What a model's file says of instances for batches alone."""

    def upkeep(self, callers: Upkeep) -> Upkeep | None:
        """Return how they are kept beside those for callers; None if there are none."""


class DeploymentSpec(Spec):
    """One place that serves a model."""

    cluster: Name
    framework: Name
    lifecycle: LifecycleSpec | None = None

    def upkeep(self, usual: LifecycleSpec | None) -> Upkeep | None:
        """Return how instances are kept here, where the model's file says `usual` for all places.

        None where neither says anything: then nobody keeps them. Raises `ValueError` for what does
        not fit together.
        """
        if usual is None and self.lifecycle is None:
            return None
        said = {"walltime_s": USUAL_WALLTIME_S} | _said(usual) | _said(self.lifecycle)
        if "gpus" not in said:
            raise ValueError("lifecycle names no gpus")
        least = said.get("min", 0)
        if "max" not in said:
            said["max"] = max(1, least)
        if least > said["max"]:
            raise ValueError(f"lifecycle: min is more than max at {self.cluster}")
        return Upkeep(**said)

    def to_domain(self, usual: LifecycleSpec | None, batch: BatchKeeping) -> Deployment:
        """Return the place, where the model's file says `usual` and `batch` for all places."""
        upkeep = self.upkeep(usual)
        return Deployment(
            cluster=self.cluster,
            framework=self.framework,
            upkeep=upkeep,
            batch_upkeep=batch.upkeep(upkeep) if upkeep else None,
        )


def _said(spec: LifecycleSpec | None) -> dict[str, Any]:
    """Return what a block says, under the names of `Upkeep`."""
    if spec is None:
        return {}
    said = spec.model_dump(exclude_none=True)
    for name in ("walltime", "idle_timeout"):
        if name in said:
            said[f"{name}_s"] = said.pop(name)
    return said
