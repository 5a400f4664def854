"""What becomes of a desired model here: what its jobs are to be, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compute_functions.contract.lifecycle import DesiredModel
from compute_functions.engine_config import EngineConfig
from compute_functions.model_config import ModelConfig
from compute_functions.site_config.policy import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A model as the site runs it: its files, and numbers within the site's limits.

    `notes` tell where the site gives less than was desired.
    """

    engine_file: Path
    model_file: Path
    gpus: int
    walltime_s: float
    start_deadline_s: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the site does not run a model, for operators of the gateway: no path is in it."""

    reason: str


def resolve(
    desired: DesiredModel,
    model: ModelConfig,
    engine: EngineConfig,
    *,
    engine_file: Path,
    limits: Limits,
) -> Resolution | Refusal:
    """Hold what is desired of a model against the site's limits. No disk is asked."""
    if desired.gpus > limits.gpus:
        return Refusal(f"it wants {desired.gpus} GPUs, the site allows {limits.gpus} at most")
    if limits.gpus_in_all is not None and desired.gpus > limits.gpus_in_all:
        return Refusal(f"it wants {desired.gpus} GPUs, the site gives {limits.gpus_in_all} in all")
    if not desired.walltime_s:
        return Refusal("it wants no walltime")
    return Resolution(
        engine_file=engine_file,
        model_file=model.file,
        gpus=desired.gpus,
        walltime_s=min(desired.walltime_s, limits.walltime_s),
        start_deadline_s=min(engine.start_deadline_s, limits.start_deadline_s),
        notes=_notes(desired, limits),
    )


def _notes(desired: DesiredModel, limits: Limits) -> tuple[str, ...]:
    if desired.walltime_s <= limits.walltime_s:
        return ()
    return (f"walltime cut from {desired.walltime_s:g} s to the site's {limits.walltime_s:g} s",)
