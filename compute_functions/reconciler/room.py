"""What the site's policy and its partition still have room for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What may still be ordered: infinitely much where there is no bound.

    `gpus` and `jobs` are what the policy leaves, `free` the GPUs that are free and that no job of
    ours waits for; that may be less than nothing.
    """

    gpus: float
    jobs: float
    free: float

    def allows(self, gpus: int) -> bool:
        """Tell whether the policy lets such a job be submitted."""
        return (gpus == 0 or self.gpus >= gpus) and self.jobs >= 1

    def fits(self, gpus: int) -> bool:
        """Tell whether such a job would start at once."""
        return self.allows(gpus) and (gpus == 0 or self.free >= gpus)

    def without(self, gpus: int) -> Self:
        """Return what is left after such a job."""
        return replace(self, gpus=self.gpus - gpus, jobs=self.jobs - 1, free=self.free - gpus)

    def plus(self, gpus: int, jobs: int, *, free: int) -> Self:
        """Return what there is when instances have ended."""
        return replace(self, gpus=self.gpus + gpus, jobs=self.jobs + jobs, free=self.free + free)


def room_left(view: View, judged: Iterable[Judged]) -> Room:
    """Return what there is room for now."""
    policy, ours = view.policy, tuple(judged)
    held = sum(one.gpus for one in ours)
    waiting = sum(one.gpus for one in ours if one.standing is Standing.WAITING)
    return Room(
        gpus=math.inf if policy.gpus is None else policy.gpus - held,
        jobs=math.inf if policy.jobs is None else policy.jobs - len(ours),
        free=math.inf if view.capacity is None else view.capacity.free_gpus - waiting,
    )


def room_to_come(view: View, judged: Iterable[Judged]) -> Room:
    """Return what there will be when those that leave have left, waiting jobs not counted in."""
    ours, dead = tuple(judged), _dead_nodes(view)
    leaving = [
        one
        for one in ours
        if one.standing in (Standing.LEAVING, Standing.GONE) and not dead & {*one.member.nodes}
    ]
    gpus = sum(one.gpus for one in leaving)
    waiting = sum(one.gpus for one in ours if one.standing is Standing.WAITING)
    return room_left(view, ours).plus(gpus, len(leaving), free=gpus + waiting)


def _dead_nodes(view: View) -> frozenset[str]:
    """Return the nodes whose GPUs do not come back soon, whatever ends there."""
    down = view.capacity.down if view.capacity else frozenset()
    return down | frozenset(view.memory.suspects)
