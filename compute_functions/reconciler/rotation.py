"""Who yields when there is no room for a wanted model: the least recently used idle one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.orders import Request
from compute_functions.reconciler.room import Room, room_to_come
from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View
from compute_functions.reconciler.wants import Level, Want

_WANTED = frozenset({Level.HOT, Level.ASKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A wanted model's claim to room: of a job that waits, or of one that cannot be submitted."""

    want: Want
    gpus: int
    waiting: Judged | None = None

    def is_met(self, room: Room) -> bool:
        """Tell whether there is room for it. A job that waits has passed the policy's bounds."""
        if self.waiting is None:
            return room.fits(self.gpus)
        return self.gpus == 0 or room.free >= self.gpus

    def taken(self, room: Room) -> Room:
        """Return what is left when it is met."""
        if self.waiting is None:
            return room.without(self.gpus)
        return replace(room, free=room.free - self.gpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Who yields, and which models lack room. `settled` is whether nobody leaves already."""

    room: Room
    settled: bool
    yielding: tuple[tuple[Judged, str], ...] = ()
    short: frozenset[ModelKey] = field(default_factory=frozenset)

    @property
    def names(self) -> frozenset[str]:
        """Return the instances that yield."""
        return frozenset(one.member.instance for one, _ in self.yielding)


def rotation(
    view: View,
    judged: Sequence[Judged],
    wants: Sequence[Want],
    *,
    blocked: Iterable[Request],
    leaving: Iterable[Judged],
) -> Rotation:
    """Return who yields now, besides those that leave anyway."""
    going = {one.member.instance for one in leaving}
    seen = tuple(
        replace(one, standing=Standing.LEAVING) if one.member.instance in going else one
        for one in judged
    )
    found = Rotation(
        room=room_to_come(view, seen),
        settled=not any(one.standing in (Standing.LEAVING, Standing.GONE) for one in seen),
    )
    for claim in _claims(wants, blocked, going):
        found = _settled(view, found, claim, [want for want in wants if want is not claim.want])
    return found


def _claims(wants: Sequence[Want], blocked: Iterable[Request], going: set[str]) -> list[Claim]:
    """Return who lacks room or may come to, those first that are served first."""
    requests = [request for request in blocked if request.want.level in _WANTED]
    claims: list[Claim] = []
    for want in wants:
        waiting = [
            one
            for one in want.group.live
            if one.standing is Standing.WAITING and one.member.instance not in going
        ]
        if want.level in _WANTED:
            claims += [Claim(want=want, gpus=one.gpus, waiting=one) for one in waiting]
        claims += [
            Claim(want=want, gpus=request.gpus) for request in requests if request.want is want
        ]
    return claims


def _settled(view: View, found: Rotation, claim: Claim, others: Sequence[Want]) -> Rotation:
    """Return the rotation after a claim is met, by room that there is or that others make."""
    stuck = found.settled and _is_stuck(view, claim)
    if claim.is_met(found.room) and not stuck:
        return replace(found, room=claim.taken(found.room))
    short = replace(found, short=found.short | {claim.want.group.key})
    since = claim.want.group.memory.short_since
    if since is None or since + view.policy.short_s > view.now:
        return short
    return _made_room(view, short, claim, others, stuck=stuck)


def _made_room(
    view: View, found: Rotation, claim: Claim, others: Sequence[Want], *, stuck: bool
) -> Rotation:
    """Return the rotation with as many yielding as the claim needs; nobody yields in vain."""
    room, chosen = found.room, list(_overtaken(view, claim, others, found.names))
    reason = f"it yields to {claim.want.group.key.label}"
    for one in _idle(view, claim, others, found.names):
        if claim.is_met(room) and not (stuck and not chosen):
            break
        if one in chosen:
            continue
        chosen.append(one)
        waits = one.standing is Standing.WAITING
        room = room.plus(one.gpus, 1, free=0 if waits else one.gpus)
    if not claim.is_met(room):
        chosen = list(_overtaken(view, claim, others, found.names))
        return replace(found, yielding=(*found.yielding, *((one, reason) for one in chosen)))
    return replace(
        found,
        room=claim.taken(room),
        yielding=(*found.yielding, *((one, reason) for one in chosen)),
    )


def _is_stuck(view: View, claim: Claim) -> bool:
    """Tell whether a job waits for so long that sums of free GPUs do not tell the truth."""
    if claim.waiting is None or claim.gpus == 0:
        return False
    return claim.waiting.member.submitted_at + view.policy.stuck_s < view.now


def _overtaken(
    view: View, claim: Claim, others: Iterable[Want], chosen: frozenset[str]
) -> list[Judged]:
    """Return the jobs that stand before a hot model's in the queue, for a while."""
    waiting = claim.waiting
    if waiting is None or not claim.want.group.is_hot or _is_stuck(view, claim):
        return []
    return [
        one
        for want in others
        if not want.group.is_hot
        for one in want.group.live
        if one.standing is Standing.WAITING
        and one.gpus > 0
        and one.member.submitted_at <= waiting.member.submitted_at
        and one.member.instance not in chosen
    ]


def _idle(view: View, claim: Claim, others: Iterable[Want], chosen: frozenset[str]) -> list[Judged]:
    """Return who may yield, the least recently used first."""
    found = [
        (want.used_at, one.standing is Standing.READY, -one.member.submitted_at, one)
        for want in others
        for one in _spare(want, claim, chosen, before=view.now - view.policy.yield_s)
    ]
    found.sort(key=lambda entry: (*entry[:3], entry[3].member.instance))
    return [entry[3] for entry in found]


def _spare(want: Want, claim: Claim, chosen: frozenset[str], *, before: float) -> list[Judged]:
    """Return the instances that a model can do without: none that `min` pins, none in use."""
    live = [one for one in want.group.live if one.member.instance not in chosen]
    idle = not want.asked and want.used_at <= before
    overruled = claim.want.group.is_hot and not want.group.is_hot
    free = [
        one
        for one in live
        if (idle and _is_idle(one)) or (overruled and one.standing is Standing.WAITING)
    ]
    return sorted(free, key=lambda one: one.serving)[: max(0, len(live) - want.group.desired.min)]


def _is_idle(one: Judged) -> bool:
    return one.standing is not Standing.DOUBTFUL and one.in_flight == 0
