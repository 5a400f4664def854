"""What the reconciler may have done at a site: jobs submitted, drained, cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from compute_functions.reconciler.model_key import ModelKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Order another instance of a model, and submit its job, on none of the nodes in `exclude`.

    `replaces` is the instance whose successor it is to be, if it is one's.
    """

    key: ModelKey
    gpus: int
    walltime_s: float
    reason: str
    exclude: tuple[str, ...] = ()
    replaces: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Tell an instance to take no new requests, and to end when it has none left, or at `until`."""

    instance: str
    job_id: str
    until: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End an instance's job, and take its order away. One without `job_id` has an order alone."""

    instance: str
    job_id: str
    reason: str


Action: TypeAlias = Submit | Drain | Cancel
