"""Who yields when there is no room for a wanted model: the least recently used idle one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.orders import Request
from compute_functions.reconciler.room import Room, room_to_come
from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View
from compute_functions.reconciler.wants import Level, Want
from compute_functions.reconciler.yielders import Yielders

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
        return _names(one for one, _ in self.yielding)


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
    yielders = Yielders.found(view, wants)
    for claim in _claims(wants, blocked, going):
        found = _settled(view, found, claim, yielders)
    return found


def _claims(wants: Sequence[Want], blocked: Iterable[Request], going: set[str]) -> list[Claim]:
    """Return who lacks room or may come to, those first that are served first."""
    requests = Counter(request.key for request in blocked)
    claims: list[Claim] = []
    for want in wants:
        if want.level not in _WANTED:
            continue
        claims += [
            Claim(want=want, gpus=one.gpus, waiting=one)
            for one in want.group.live
            if one.standing is Standing.WAITING and one.member.instance not in going
        ]
        group = want.group
        claims += [Claim(want=want, gpus=group.desired.gpus)] * requests[group.key]
    return claims


def _settled(view: View, found: Rotation, claim: Claim, yielders: Yielders) -> Rotation:
    """Return the rotation after a claim is met, by room that there is or that others make."""
    stuck = found.settled and _is_stuck(view, claim)
    if claim.is_met(found.room) and not stuck:
        return replace(found, room=claim.taken(found.room))
    short = replace(found, short=found.short | {claim.want.group.key})
    since = claim.want.group.memory.short_since
    if since is None or since + view.policy.short_s > view.now:
        return short
    chosen = found.names
    overtaken = _overtaken(view, claim, yielders, chosen)
    rest = yielders.for_claim(claim.want, chosen | _names(overtaken))
    return _made_room(short, claim, overtaken, rest, stuck=stuck)


def _made_room(
    found: Rotation,
    claim: Claim,
    overtaken: Sequence[Judged],
    rest: Iterable[Judged],
    *,
    stuck: bool,
) -> Rotation:
    """Return the rotation with as many of the rest yielding as are needed; none yields in vain."""
    chosen, room = list(overtaken), found.room
    for one in rest:
        one_more = stuck and not chosen
        if claim.is_met(room) and not one_more:
            break
        chosen.append(one)
        room = _room_without(room, one)
    met = claim.is_met(room)
    reason = f"it yields to {claim.want.group.key.label}"
    leaving = tuple((one, reason) for one in (chosen if met else overtaken))
    return replace(
        found,
        room=claim.taken(room) if met else found.room,
        yielding=(*found.yielding, *leaving),
    )


def _room_without(room: Room, one: Judged) -> Room:
    """Return what there is when one more has ended."""
    waits = one.standing is Standing.WAITING
    return room.plus(one.gpus, 1, free=0 if waits else one.gpus)


def _is_stuck(view: View, claim: Claim) -> bool:
    """Tell whether a job waits for so long that sums of free GPUs do not tell the truth."""
    if claim.waiting is None or claim.gpus == 0:
        return False
    return claim.waiting.member.submitted_at + view.policy.stuck_s < view.now


def _overtaken(
    view: View, claim: Claim, yielders: Yielders, chosen: frozenset[str]
) -> Sequence[Judged]:
    """Return the jobs that stand before a hot model's in the queue, for a while."""
    if claim.waiting is None or not claim.want.group.is_hot or _is_stuck(view, claim):
        return ()
    return yielders.queued_before(claim.waiting, chosen)


def _names(those: Iterable[Judged]) -> frozenset[str]:
    return frozenset(one.member.instance for one in those)
