"""What a model's YAML may say of its batches: `batch`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator

from compute_functions.contract.lifecycle import MOST_INSTANCES
from resource_server.adapters.catalog_lifecycle import (
    LONGEST_WALLTIME_S,
    SHORTEST_WALLTIME_S,
    Seconds,
)
from resource_server.adapters.catalog_part import Spec
from resource_server.domain.upkeep import Upkeep

#: Nobody comes back to an instance for batches: it waits so long for the next one (seconds).
USUAL_IDLE_S = 60.0
_T = TypeVar("_T")


class BatchTermsSpec(Spec):
    """How a model's batches run at its sites, which decide by it.

    With `placement: own` they have instances of their own, at most `max`, which end when no batch
    has used them for `idle_timeout`; without a `walltime` their jobs last as long as those for
    callers.
    """

    placement: Literal["shared", "own"] = "shared"
    share: float | None = Field(None, gt=0, le=1)
    concurrency: int | None = Field(None, ge=1)
    max: int | None = Field(None, ge=1, le=MOST_INSTANCES)
    walltime: Seconds | None = Field(None, ge=SHORTEST_WALLTIME_S, le=LONGEST_WALLTIME_S)
    idle_timeout: Seconds | None = Field(None, ge=0, le=LONGEST_WALLTIME_S)

    @field_validator("max", "walltime", "idle_timeout")
    @classmethod
    def _of_their_own(cls, value: _T, info: ValidationInfo) -> _T:
        if value is not None and info.data.get("placement") == "shared":
            raise ValueError("is for instances of their own: placement: own")
        return value

    @property
    def is_own(self) -> bool:
        """Whether batches have instances of their own."""
        return self.placement == "own"

    def upkeep(self, callers: Upkeep) -> Upkeep | None:
        """Return how instances for batches are kept beside those for callers; None for none.

        None has a successor before its walltime ends: a batch goes on in the next job, and there
        are no GPUs that wait for it meanwhile.
        """
        if not self.is_own:
            return None
        most = self.max or 1
        idle_s = USUAL_IDLE_S if self.idle_timeout is None else self.idle_timeout
        return replace(
            callers,
            min=0,
            max=most,
            walltime_s=self.walltime or callers.walltime_s,
            idle_timeout_s=idle_s,
            refresh=False,
            autoscale=most > 1,
        )
