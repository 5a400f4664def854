"""A desired model with everything that is known of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from compute_functions.contract.lifecycle import DesiredModel, ModelDemand
from compute_functions.reconciler.estimate import Estimate
from compute_functions.reconciler.memory import Memory, ModelMemory
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.policy import Policy
from compute_functions.reconciler.refusal import refusal
from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A desired model, its demand, its instances, and what is remembered and estimated of it.

    `members` are all its instances; `live` those that count, without those that were unloaded;
    `ready` those that serve without doubt. `load_s` and `queue_s` are what a cold start takes,
    guessed where nobody knows.
    """

    key: ModelKey
    desired: DesiredModel
    demand: ModelDemand
    memory: ModelMemory
    members: tuple[Judged, ...]
    load_s: float
    queue_s: float
    refused: str = ""
    live: tuple[Judged, ...] = field(init=False)
    ready: tuple[Judged, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Sort the instances: they are looked at again and again."""
        live = tuple(one for one in self.members if one.live and not self.is_unloaded(one))
        object.__setattr__(self, "live", live)
        ready = tuple(one for one in live if one.standing is Standing.READY)
        object.__setattr__(self, "ready", ready)

    @property
    def is_hot(self) -> bool:
        """Whether it is to run though nobody asks."""
        return self.desired.min > 0

    @property
    def rank(self) -> tuple[bool, int, float, ModelKey]:
        """Return what orders models: hot ones, by priority, those that waited longest."""
        since = self.memory.waiting_since
        waited = float("inf") if since is None else since
        return (not self.is_hot, -self.desired.priority, waited, self.key)

    def is_unloaded(self, one: Judged) -> bool:
        """Tell whether an instance is one of those that an operator had unloaded."""
        return one.member.submitted_at < self.desired.unloaded_at


def groups(view: View, judged: Iterable[Judged], memory: Memory) -> tuple[Group, ...]:
    """Return the desired models in the order in which they are served."""
    demands = {ModelKey.of(one): one for one in view.demand}
    members: dict[ModelKey, list[Judged]] = {}
    for one in judged:
        members.setdefault(one.key, []).append(one)
    desired = view.desired.models if view.desired else ()
    found = (
        _group(
            view,
            model,
            demand=demands.get(ModelKey.of(model)),
            memory=memory.of(ModelKey.of(model)),
            members=tuple(members.get(ModelKey.of(model), ())),
        )
        for model in desired
    )
    return tuple(sorted(found, key=lambda group: group.rank))


def _group(
    view: View,
    model: DesiredModel,
    *,
    demand: ModelDemand | None,
    memory: ModelMemory,
    members: tuple[Judged, ...],
) -> Group:
    key = ModelKey.of(model)
    estimate = view.estimates.get(key, Estimate())
    return Group(
        key=key,
        desired=model,
        demand=demand or _nobody(key),
        memory=memory,
        members=members,
        load_s=_load_s(estimate, members, view.policy),
        queue_s=estimate.queue_s or 0.0,
        refused=refusal(view, model),
    )


def _nobody(key: ModelKey) -> ModelDemand:
    return ModelDemand(model=key.model, framework=key.framework, purpose=key.purpose)


def _load_s(estimate: Estimate, members: Iterable[Judged], policy: Policy) -> float:
    if estimate.load_s is not None:
        return estimate.load_s
    seen = [
        one.ready_at - one.member.started_at
        for one in members
        if one.ready_at is not None and one.member.started_at is not None
    ]
    return max(0.0, *seen) if seen else policy.load_s
