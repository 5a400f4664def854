"""Which jobs are submitted now, and which models must wait, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from compute_functions.reconciler.actions import Submit
from compute_functions.reconciler.group import Group
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.renewal import Renewal
from compute_functions.reconciler.rollover import Rollover
from compute_functions.reconciler.room import Room, room_left
from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View
from compute_functions.reconciler.wants import Level, Want


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An instance that should be ordered: the successor of `old`, or one that is missing."""

    want: Want
    place: int
    old: Judged | None = None

    @property
    def key(self) -> ModelKey:
        """Return its model."""
        return self.want.group.key

    @property
    def gpus(self) -> int:
        """Return how many GPUs it takes."""
        return self.want.group.desired.gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What is submitted; why which models wait; what would be submitted if there were room.

    `ordered` counts what is submitted of each model. `held` is whether a hot model waits for GPUs,
    and nobody else takes them.
    """

    room: Room
    held: bool
    rollovers: int
    submits: tuple[Submit, ...] = ()
    ordered: Mapping[ModelKey, int] = field(default_factory=dict)
    blocked: tuple[Request, ...] = ()
    waits: Mapping[ModelKey, str]


def orders(
    view: View,
    judged: Iterable[Judged],
    plans: Sequence[Rollover],
    renewals: Mapping[str, Renewal],
) -> Orders:
    """Return what is to be submitted, hot models first."""
    found = Orders(
        room=room_left(view, judged),
        held=False,
        rollovers=sum(_under_way(plan) for plan in plans),
        waits={},
    )
    found = replace(found, held=found.room.free < 0 and _hot_waits(view, plans))
    for request in _requests(plans, renewals):
        found = _ordered(view, found, request, renewals)
    return found


def _under_way(plan: Rollover) -> int:
    """Return how many more instances a model has than it should: old ones being replaced."""
    target, members = plan.want.target, plan.want.group.members
    present = sum(one.standing is not Standing.LOST for one in members)
    return max(0, present - target) if target else 0


def _hot_waits(view: View, plans: Iterable[Rollover]) -> bool:
    """Tell whether a hot model's job waits, and not for so long that others need not."""
    return any(
        one.standing is Standing.WAITING
        and one.member.submitted_at + view.policy.stuck_s > view.now
        for plan in plans
        if plan.want.group.is_hot
        for one in plan.want.group.live
    )


def _requests(plans: Sequence[Rollover], renewals: Mapping[str, Renewal]) -> list[Request]:
    """Return what should be ordered, in the order in which it gets room."""
    found = [
        (_urgency(plan.want, successor=False), place, 0.0, Request(want=plan.want, place=index))
        for place, plan in enumerate(plans)
        for index in range(plan.missing)
    ]
    found += [
        (
            _urgency(plan.want, successor=True),
            0,
            renewals[old.member.instance].due_at,
            Request(want=plan.want, place=plan.missing + index, old=old),
        )
        for plan in plans
        for index, old in enumerate(plan.heirless)
    ]
    found.sort(key=lambda entry: (*entry[:3], entry[3].key, entry[3].place))
    return [entry[3] for entry in found]


def _urgency(want: Want, *, successor: bool) -> int:
    if want.group.is_hot:
        return 1 if successor else 0
    if want.level is Level.ASKED:
        return 3 if successor else 2
    return 4


def _ordered(
    view: View, found: Orders, request: Request, renewals: Mapping[str, Renewal]
) -> Orders:
    """Return the orders with one more request met, if it can be."""
    group = request.want.group
    if group.refused or not _is_its_turn(view, found, request, renewals):
        return found
    paused = pause(group, view)
    if paused:
        return replace(found, waits={**found.waits, request.key: paused})
    lack = _lack(found, request)
    if lack:
        return replace(
            found,
            waits={**found.waits, request.key: lack},
            blocked=(*found.blocked, request),
            held=found.held or group.is_hot,
        )
    return replace(
        found,
        room=found.room.without(request.gpus),
        held=found.held or (group.is_hot and not found.room.fits(request.gpus)),
        rollovers=found.rollovers + (request.old is not None),
        submits=(*found.submits, _submit(view, request)),
        ordered={**found.ordered, request.key: found.ordered.get(request.key, 0) + 1},
    )


def _is_its_turn(
    view: View, found: Orders, request: Request, renewals: Mapping[str, Renewal]
) -> bool:
    """Tell whether the model may have one more, and the site another rollover."""
    group, surge = request.want.group, view.policy.surge
    present = sum(one.live for one in group.members)
    if present + found.ordered.get(request.key, 0) >= group.desired.max + surge:
        return False
    if request.old is None or found.rollovers < surge:
        return True
    return renewals[request.old.member.instance].must_at <= view.now


def pause(group: Group, view: View) -> str:
    """Return why nothing is started of a model that failed to start; nothing if it may be."""
    known = group.memory
    if known.failed_at is None:
        return ""
    pause_s = view.policy.pause_after(known.failures)
    if known.failed_at + pause_s <= view.now:
        return ""
    return f"{known.failures} starts in a row failed: the next one is tried after {pause_s:g} s"


def _lack(found: Orders, request: Request) -> str:
    """Return why there is no room for a request; nothing if it may at least stand in the queue."""
    room, want = found.room, request.want
    if not room.allows(request.gpus):
        return (
            "the site's limit of jobs is reached" if room.jobs < 1 else "the site's GPUs are taken"
        )
    if room.fits(request.gpus) or want.group.is_hot:
        return ""
    if want.level is not Level.ASKED:
        return "no GPUs are free"
    return "a hot model waits for GPUs" if found.held else ""


def _submit(view: View, request: Request) -> Submit:
    desired, old = request.want.group.desired, request.old
    return Submit(
        key=request.key,
        gpus=desired.gpus,
        walltime_s=desired.walltime_s,
        reason=_reason(request),
        exclude=_exclude(view),
        replaces=old.member.instance if old else "",
    )


def _reason(request: Request) -> str:
    want = request.want
    if request.old is not None:
        return f"the time of {request.old.member.instance} will be over"
    live = len(want.group.live)
    return f"{want.target} are wanted ({want.level}), there are {live}"


def _exclude(view: View) -> tuple[str, ...]:
    """Return the suspect nodes, unless no node would be left: then a suspect one is a chance."""
    suspects = sorted(view.memory.suspects)
    if not suspects:
        return ()
    nodes = view.capacity.nodes if view.capacity else ()
    usable = set(nodes) - (view.capacity.down if view.capacity else frozenset())
    return () if usable and usable <= set(suspects) else tuple(suspects)
