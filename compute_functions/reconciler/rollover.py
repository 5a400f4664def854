"""Which instances of one model stay, which go, and how many are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compute_functions.reconciler.policy import Policy
from compute_functions.reconciler.renewal import Renewal
from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.wants import Want

_UNREADY = frozenset({Standing.WAITING, Standing.STARTING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollover:
    """What becomes of a model's instances.

    `ageing` are to be succeeded, the next first; `heirless` those of them for which no successor is
    on its way. `missing` instances were never there. `leaving` are let go, each for its reason.
    """

    want: Want
    ageing: tuple[Judged, ...]
    heirless: tuple[Judged, ...]
    missing: int
    leaving: tuple[tuple[Judged, str], ...]


def rollover(
    want: Want, renewals: Mapping[str, Renewal], *, policy: Policy, now: float
) -> Rollover:
    """Return what becomes of a model's instances now."""
    live, target = want.group.live, want.target
    ageing = _ageing(live, renewals, now)
    fresh = _fresh(want, ageing, policy, now)
    needed = max(0, target - len(fresh))
    return Rollover(
        want=want,
        ageing=ageing,
        heirless=ageing[:needed],
        missing=max(0, needed - len(ageing)),
        leaving=(
            *_unloaded(want),
            *((one, _excess(want)) for one in _surplus(fresh, target)),
            *((one, _relief(want)) for one in _relieved(ageing, fresh, target)),
        ),
    )


def _unloaded(want: Want) -> tuple[tuple[Judged, str], ...]:
    group = want.group
    return tuple(
        (one, "it was unloaded") for one in group.members if one.live and group.is_unloaded(one)
    )


def _fresh(
    want: Want, ageing: tuple[Judged, ...], policy: Policy, now: float
) -> tuple[Judged, ...]:
    """Return those that count for the future."""
    old = {one.member.instance for one in ageing}
    return tuple(
        one
        for one in want.group.live
        if one.member.instance not in old and not _is_spent(one, want, policy, now)
    )


def _ageing(
    live: tuple[Judged, ...], renewals: Mapping[str, Renewal], now: float
) -> tuple[Judged, ...]:
    due = [
        (renewals[one.member.instance].due_at, one.member.instance, one)
        for one in live
        if one.member.instance in renewals and renewals[one.member.instance].due_at <= now
    ]
    return tuple(one for *_, one in sorted(due, key=lambda entry: entry[:2]))


def _is_spent(one: Judged, want: Want, policy: Policy, now: float) -> bool:
    """Tell whether an instance that starts will not be there for long enough to count."""
    walltime_s = one.member.walltime_s or want.group.desired.walltime_s
    left_s = one.ends_at - now
    return one.standing is Standing.STARTING and left_s < min(policy.last_s, walltime_s / 2)


def _surplus(fresh: tuple[Judged, ...], target: int) -> tuple[Judged, ...]:
    """Return whom to let go: the youngest unready, the doubtful, those that end soonest."""
    return tuple(sorted(fresh, key=_worth)[: max(0, len(fresh) - target)])


def _worth(one: Judged) -> tuple[int, float, str]:
    if one.standing in _UNREADY:
        return 0, -one.member.submitted_at, one.member.instance
    return (1 if one.standing is Standing.DOUBTFUL else 2), one.ends_at, one.member.instance


def _relieved(
    ageing: tuple[Judged, ...], fresh: tuple[Judged, ...], target: int
) -> tuple[Judged, ...]:
    """Return the old ones that may go because as many as there should be are ready without them."""
    successors = sum(one.standing is Standing.READY for one in fresh)
    if successors >= target:
        return ageing
    healthy = tuple(one for one in ageing if one.standing is Standing.READY)
    return healthy[: max(0, successors + len(healthy) - target)]


def _excess(want: Want) -> str:
    return "nobody wants it" if want.target == 0 else f"{want.target} are enough"


def _relief(want: Want) -> str:
    return "nobody wants it" if want.target == 0 else "its successor is ready"
