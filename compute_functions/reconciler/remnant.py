"""What still runs of models that are desired no more: it is let be until nobody uses it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from compute_functions.contract.lifecycle import DesiredModel, ModelDemand
from compute_functions.reconciler.group import Group
from compute_functions.reconciler.memory import ModelMemory
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View
from compute_functions.reconciler.wants import Level, Want

#: Why a job goes that still stands in the scheduler's queue.
UNDESIRED = "its model is desired no more"
_NEVER = float("-inf")


def remnants(view: View, judged: Iterable[Judged], desired: Iterable[Want]) -> tuple[Want, ...]:
    """Return the models that are desired no more and have instances running.

    Nothing is ordered of them. They yield to any model that is wanted, as idle ones do.
    """
    known = {each.group.key for each in desired}
    members: dict[ModelKey, list[Judged]] = {}
    for one in judged:
        if one.key not in known and one.standing is not Standing.WAITING:
            members.setdefault(one.key, []).append(one)
    return tuple(_remnant(view, key, tuple(found)) for key, found in sorted(members.items()))


def _remnant(view: View, key: ModelKey, members: tuple[Judged, ...]) -> Want:
    group = _group(view, key, members)
    memory, now = _seen(group, view.now), view.now
    left_at, quiet_since = memory.undesired_since or now, memory.quiet_since
    kept = quiet_since is None or max(left_at, quiet_since) + view.policy.grace_s > now
    used = any(one.in_flight for one in group.live)
    return Want(
        group=group,
        target=len(group.live) if kept else 0,
        level=Level.KEPT if kept else Level.UNWANTED,
        asked=used,
        used_at=now if used else _NEVER,
        memory=memory,
    )


def _seen(group: Group, now: float) -> ModelMemory:
    """Return the memory, with the times since when it is desired no more, and nobody uses it."""
    known = group.memory
    # One that still loads was ordered for somebody.
    quiet = all(one.serving and not one.in_flight for one in group.live)
    since = now if known.quiet_since is None else known.quiet_since
    left_at = now if known.undesired_since is None else known.undesired_since
    return replace(known, quiet_since=since if quiet else None, undesired_since=left_at)


def _group(view: View, key: ModelKey, members: tuple[Judged, ...]) -> Group:
    return Group(
        key=key,
        desired=DesiredModel(
            model=key.model,
            framework=key.framework,
            min=0,
            max=len(members),
            gpus=0,
            walltime_s=0.0,
            walltime_ratio=1.0,
            idle_timeout_s=view.policy.grace_s,
            refresh=False,
            purpose=key.purpose,
        ),
        demand=ModelDemand(model=key.model, framework=key.framework, purpose=key.purpose),
        memory=view.memory.of(key),
        members=members,
        load_s=0.0,
        queue_s=0.0,
        refused=UNDESIRED,
    )
