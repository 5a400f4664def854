"""Where model instances stand, what that makes of a model, and each dialect's word for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from compute_functions.contract import Instance, InstanceState


class ModelState(StrEnum):
    """The state of a model, derived from its instances (architecture, section 5)."""

    READY = "ready"
    STARTING = "starting"
    QUEUED = "queued"
    IDLE = "idle"


#: ALCF's words, as its users see them (rows C-5 … C-8).
ALCF_WORDS = {
    ModelState.READY: "Live",
    ModelState.STARTING: "Starting",
    ModelState.QUEUED: "Queued",
    ModelState.IDLE: "Offline",
}

_BEST_FIRST = (
    (InstanceState.READY, ModelState.READY),
    (InstanceState.STARTING, ModelState.STARTING),
    (InstanceState.QUEUED, ModelState.QUEUED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a site reported, and when (seconds since the epoch, the gateway's clock)."""

    observed_at: float
    instances: tuple[Instance, ...] = ()


def model_state(instances: Iterable[Instance]) -> ModelState:
    """Return the best state that any instance gives its model."""
    present = {instance.state for instance in instances}
    return next((word for state, word in _BEST_FIRST if state in present), ModelState.IDLE)
