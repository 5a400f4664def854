"""Looks at a site once, and says what is to be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from compute_functions.contract.instances import ModelOutlook
from compute_functions.reconciler.actions import Cancel, Drain
from compute_functions.reconciler.blame import learnt, unproven
from compute_functions.reconciler.decision import Decision
from compute_functions.reconciler.dismissal import dismissal, overdue
from compute_functions.reconciler.group import groups
from compute_functions.reconciler.judgement import is_blind, judge
from compute_functions.reconciler.memory import Memory, ModelMemory
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.orders import Orders, orders
from compute_functions.reconciler.remnant import UNDESIRED, remnants
from compute_functions.reconciler.renewal import renewals
from compute_functions.reconciler.rollover import Rollover, rollover
from compute_functions.reconciler.rotation import Rotation, rotation
from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View
from compute_functions.reconciler.wants import Want, want

_BLIND = "no instance has sent a heartbeat lately: the site's directory may be out of reach"


def decide(view: View) -> Decision:
    """Return what is to be done at a site, and why. The same view gives the same decision.

    Without a desired state, and where a newer agent has been at work, that is nothing.
    """
    withheld = _withheld(view)
    if withheld:
        return Decision(trouble=withheld, memory=view.memory)
    judged = judge(view)
    view = replace(view, memory=learnt(view, judged))
    wants = tuple(want(group, view.policy, view.now) for group in groups(view, judged, view.memory))
    return _decided(view, judged, wants)


def _withheld(view: View) -> str:
    if view.desired is None:
        return "no gateway has said yet what is desired"
    newest = max((member.fence for member in view.members), default=0)
    if newest > view.fence:
        return f"an agent with the fencing number {newest} has submitted jobs; ours is {view.fence}"
    return ""


def _decided(view: View, judged: tuple[Judged, ...], wants: tuple[Want, ...]) -> Decision:
    due = renewals(wants, view.policy)
    plans = [rollover(each, due, policy=view.policy, now=view.now) for each in wants]
    rest = remnants(view, judged, wants)
    ending = [rollover(each, {}, policy=view.policy, now=view.now) for each in rest]
    leaving = (
        *_undesired(judged, wants),
        *(pair for plan in (*plans, *ending) for pair in plan.leaving),
    )
    ordered = orders(view, judged, plans, due)
    rotated = rotation(
        view,
        judged,
        (*wants, *rest),
        blocked=ordered.blocked,
        leaving=[one for one, _ in leaving],
    )
    ends = _ends(view, judged, (*leaving, *rotated.yielding))
    return Decision(
        actions=(*ends, *ordered.submits),
        outlooks=tuple(_outlook(view, plan, ordered, rotated) for plan in plans),
        trouble=_BLIND if is_blind(view) else "",
        memory=_remembered(view, judged, (*wants, *rest), rotated, ends),
    )


def _undesired(judged: Iterable[Judged], wants: Iterable[Want]) -> tuple[tuple[Judged, str], ...]:
    """Return the jobs in the queue of models that are desired no more. What runs is let be."""
    desired = {each.group.key for each in wants}
    return tuple(
        (one, UNDESIRED)
        for one in judged
        if one.standing is Standing.WAITING and one.key not in desired
    )


def _ends(
    view: View, judged: Iterable[Judged], leaving: Iterable[tuple[Judged, str]]
) -> tuple[Drain | Cancel, ...]:
    """Return what ends instances: those whose time is over, then those that are let go."""
    over = (overdue(one, policy=view.policy, now=view.now) for one in judged)
    dismissed = [
        dismissal(one, reason, policy=view.policy, now=view.now) for one, reason in leaving
    ]
    return (*(cancel for cancel in over if cancel), *dismissed)


def _outlook(view: View, plan: Rollover, ordered: Orders, rotated: Rotation) -> ModelOutlook:
    group = plan.want.group
    estimate = view.estimates.get(group.key)
    return ModelOutlook(
        model=group.key.model,
        framework=group.key.framework,
        purpose=group.key.purpose,
        queue_s=estimate.queue_s if estimate else None,
        load_s=estimate.load_s if estimate else None,
        refused=group.refused,
        waits=_waits(group.key, ordered, rotated),
    )


def _waits(key: ModelKey, ordered: Orders, rotated: Rotation) -> str:
    told = ordered.waits.get(key, "")
    if told or key not in rotated.short:
        return told
    return "no GPUs are free, and it waits until some are"


def _remembered(
    view: View,
    judged: Iterable[Judged],
    wants: Sequence[Want],
    rotated: Rotation,
    ends: Iterable[Drain | Cancel],
) -> Memory:
    yielded = {one.key for one, _ in rotated.yielding}
    models: Mapping[ModelKey, ModelMemory] = {
        each.group.key: replace(
            each.memory,
            short_since=_short_since(each, rotated, view.now),
            yielded_at=view.now if each.group.key in yielded else each.memory.yielded_at,
        )
        for each in wants
    }
    dismissed = frozenset(end.instance for end in ends)
    return replace(view.memory, models=models, unproven=unproven(view, judged, dismissed))


def _short_since(each: Want, rotated: Rotation, now: float) -> float | None:
    if each.group.key not in rotated.short:
        return None
    since = each.memory.short_since
    return now if since is None else since
