"""How many instances a model should have: as many as desired, asked for, or lately used."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from compute_functions.reconciler.group import Group
from compute_functions.reconciler.memory import ModelMemory
from compute_functions.reconciler.policy import Policy
from compute_functions.reconciler.standing import Standing

_NEVER = -math.inf


class Level(StrEnum):
    """How much a model is wanted, most first."""

    #: `min` says so.
    HOT = "hot"
    #: Requests wait or run.
    ASKED = "asked"
    #: It was used lately: it keeps its place as long as nobody needs it.
    KEPT = "kept"
    UNWANTED = "unwanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """How many instances a model should have, and why.

    `asked` is whether anybody asks for it now, `used_at` when it was last asked for, minus infinity
    for never. `memory` is what this view tells of it.
    """

    group: Group
    target: int
    level: Level
    asked: bool
    used_at: float
    memory: ModelMemory

    def wanted_at(self, moment: float) -> bool:
        """Tell whether it would be wanted then, if nobody came from now on."""
        held = self.level is Level.HOT or self.asked
        return held or self.used_at + self.group.desired.idle_timeout_s > moment


def want(group: Group, policy: Policy, now: float) -> Want:
    """Return how many instances a model should have at this moment."""
    seen = _seen(group, now)
    asked = _is_asked(group, seen, policy, now)
    memory = replace(seen, asked_at=now if asked else seen.asked_at)
    used_at = _used_at(group, memory, now)
    floor, level = _floor(group, policy, asked=asked, used_at=used_at, now=now)
    if group.desired.autoscale:
        target, memory = _scaled(group, memory, floor, policy=policy, now=now)
    else:
        target = floor
    return Want(
        group=group,
        target=target,
        level=level,
        asked=asked,
        used_at=used_at,
        memory=replace(memory, target=target),
    )


def _seen(group: Group, now: float) -> ModelMemory:
    """Return the model's memory with the clocks that run as of now."""
    known, busy = group.memory, _busy(group)
    count = len(group.ready)
    spare = busy is not None and count > 0 and busy < count
    released = any(group.is_unloaded(one) for one in group.members)
    return replace(
        known,
        waiting_since=_since(known.waiting_since, now, runs=_backlog(group) > 0),
        spare_since=_since(known.spare_since, now, runs=spare),
        quiet_since=_since(known.quiet_since, now, runs=busy == 0),
        released_at=now if released else known.released_at,
        undesired_since=None,
    )


def _since(since: float | None, now: float, *, runs: bool) -> float | None:
    if not runs:
        return None
    return now if since is None else since


def _backlog(group: Group) -> int:
    """Return how many requests wait, at the gateway and in the engines."""
    said = (one.member.registered for one in group.ready)
    return group.demand.waiting + sum(one.engine_waiting or 0 for one in said if one)


def _busy(group: Group) -> int | None:
    """Return how many requests are under way or wait; None if nobody knows."""
    running = 0
    for one in group.live:
        if one.serving and one.in_flight is None:
            return None
        running += one.in_flight or 0
    return max(running, group.demand.running) + group.demand.waiting


def _is_asked(group: Group, memory: ModelMemory, policy: Policy, now: float) -> bool:
    """Tell whether anybody asks for it; those do not count whose instances were unloaded."""
    unloaded_at = group.desired.unloaded_at
    since = memory.waiting_since
    since_before = since is not None and since <= unloaded_at
    masked = since_before and now < unloaded_at + policy.grace_s
    waits = group.demand.waiting > 0 and not masked
    # The instances know of requests that no hub told of.
    serves = any(one.in_flight for one in group.live)
    return waits or serves or (group.demand.running > 0 and memory.released_at != now)


def _used_at(group: Group, memory: ModelMemory, now: float) -> float:
    """Return when it was last asked for, but for what came before it was unloaded."""
    used_s = group.demand.used_s
    told = _NEVER if used_s is None else now - used_s
    last = max(told, _NEVER if memory.asked_at is None else memory.asked_at)
    released = _NEVER if memory.released_at is None else memory.released_at
    return last if last > max(group.desired.unloaded_at, released) else _NEVER


def _floor(
    group: Group, policy: Policy, *, asked: bool, used_at: float, now: float
) -> tuple[int, Level]:
    """Return how many instances it should have at least, whatever the load."""
    desired, yielded_at = group.desired, group.memory.yielded_at
    least = min(1, desired.max)
    if desired.min > 0:
        return desired.min, Level.HOT
    if asked:
        return least, Level.ASKED
    if used_at + desired.idle_timeout_s > now:
        # What gave way to another is not started again because it was once used.
        gave_way = yielded_at is not None and used_at <= yielded_at
        return (min(least, len(group.live)) if gave_way else least), Level.KEPT
    if _is_fresh(group, policy, now):
        return least, Level.KEPT
    return 0, Level.UNWANTED


def _is_fresh(group: Group, policy: Policy, now: float) -> bool:
    """Tell whether an instance was asked for so lately that the caller may come back for it."""
    grace_s = min(policy.grace_s, group.desired.idle_timeout_s)
    marks = (one.ready_at or one.member.submitted_at for one in group.live)
    return any(mark + grace_s > now for mark in marks)


def _scaled(
    group: Group, memory: ModelMemory, floor: int, *, policy: Policy, now: float
) -> tuple[int, ModelMemory]:
    """Return how many instances the load asks for."""
    most = group.desired.max
    target = min(max(_current(group), floor), most)
    if floor == 0:
        return 0, memory
    if _must_grow(group, memory, policy, now):
        return min(most, max(target, len(group.ready) + _step(group))), memory
    idle_s = group.desired.idle_timeout_s
    if _lasts(memory.quiet_since, idle_s, now):
        return floor, memory
    if _lasts(memory.spare_since, idle_s, now):
        fewer = min(target, len(group.ready)) - 1
        return max(floor, fewer), replace(memory, spare_since=now)
    return target, memory


def _current(group: Group) -> int:
    """Return how many instances it was to have; of one that is new to us, how many it has."""
    if group.memory.target is not None:
        return group.memory.target
    coming = sum(not one.serving for one in group.live)
    return len(group.live) - min(coming, len(group.live) - coming)


def _must_grow(group: Group, memory: ModelMemory, policy: Policy, now: float) -> bool:
    coming = any(one.standing in (Standing.WAITING, Standing.STARTING) for one in group.live)
    waited = _lasts(memory.waiting_since, policy.scale_up_s, now)
    return waited and not coming and bool(group.ready)


def _step(group: Group) -> int:
    """Return how many instances more: for the backlog at the present rate, doubling at most."""
    count = len(group.ready)
    said = (one.member.registered for one in group.ready)
    under_way = sum((one.in_flight or 0) - (one.engine_waiting or 0) for one in said if one)
    each = max(1, under_way // count)
    return max(1, min(count, math.ceil(_backlog(group) / each)))


def _lasts(since: float | None, long_s: float, now: float) -> bool:
    return since is not None and since + long_s <= now
