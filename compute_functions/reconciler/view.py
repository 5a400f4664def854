"""The site as the reconciler sees it at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compute_functions.contract.lifecycle import DesiredState, ModelDemand
from compute_functions.drivers.driver import Capacity
from compute_functions.reconciler.estimate import Estimate
from compute_functions.reconciler.member import Member
from compute_functions.reconciler.memory import Memory
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that a decision rests on. `now` is seconds since the epoch by the site's clock.

    `fence` is the number of our lease. `desired` is None as long as no gateway has said anything.
    `demand` has each model at most once, summed over the hubs; in `used_s` a request counts from
    when it begins to wait. `capacity` is None where nobody knows. `refused` says of which models
    the site cannot take an order, and why, as of one for which it has no file. `memory` is that
    of the decision before, or an empty one.
    """

    now: float
    fence: int
    desired: DesiredState | None
    policy: Policy
    members: tuple[Member, ...] = ()
    demand: tuple[ModelDemand, ...] = ()
    capacity: Capacity | None = None
    estimates: Mapping[ModelKey, Estimate] = field(default_factory=dict)
    refused: Mapping[ModelKey, str] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
