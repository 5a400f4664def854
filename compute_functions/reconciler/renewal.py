"""When successors are ordered: early enough, and not all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compute_functions.reconciler.group import Group
from compute_functions.reconciler.policy import Policy
from compute_functions.reconciler.standing import Judged
from compute_functions.reconciler.wants import Want

#: No instance is renewed before so much of its walltime is over, however many are to be renewed.
_EARLIEST = 0.5
#: A cold start may take so much longer than estimated where there is no more time to wait.
_MARGIN = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """An instance's renewal: from when on it may have a successor, and when it must at last."""

    instance: str
    due_at: float
    must_at: float


def renewals(wants: Iterable[Want], policy: Policy) -> Mapping[str, Renewal]:
    """Return when each instance is renewed, by its name; those without renewal are not there.

    With places for `surge` rollovers at once, those that would be due together begin one after the
    other, and the last in time.
    """
    found = [
        (_planned(one, want.group, policy), one, _lasts_s(want.group, policy))
        for want in wants
        if want.group.desired.refresh
        for one in want.group.live
        if one.serving and one.member.ends_at is not None and want.wanted_at(one.ends_at)
    ]
    found.sort(key=lambda entry: (entry[0].due_at, entry[0].instance))
    return _staggered(found, places=max(1, policy.surge))


def _planned(one: Judged, group: Group, policy: Policy) -> Renewal:
    walltime_s = _walltime_s(one, group)
    start_s = group.load_s + group.queue_s
    last_s = min(policy.last_s, walltime_s / 4) + policy.settle_s
    by_rule = max(
        (1 - group.desired.walltime_ratio) * walltime_s,
        2 * group.load_s + group.queue_s,
        start_s + last_s,
    )
    # More than half of a walltime only where a cold start takes as long: else all that is done
    # is to renew.
    lead_s = min(by_rule, max(walltime_s * (1 - _EARLIEST), start_s + last_s))
    return Renewal(
        instance=one.member.instance,
        due_at=one.ends_at - lead_s,
        must_at=one.ends_at - _MARGIN * group.load_s - group.queue_s - last_s,
    )


def _lasts_s(group: Group, policy: Policy) -> float:
    """Return how long a rollover takes: until the old one has left."""
    return _MARGIN * group.load_s + group.queue_s + policy.settle_s


def _walltime_s(one: Judged, group: Group) -> float:
    known = one.member.walltime_s
    return group.desired.walltime_s if known is None else known


def _staggered(found: list[tuple[Renewal, Judged, float]], *, places: int) -> dict[str, Renewal]:
    """Move renewals forward so that no more than `places` of them are under way at once."""
    due = [renewal.due_at for renewal, _, _ in found]
    for place in range(len(found) - 1 - places, -1, -1):
        _, one, lasts_s = found[place]
        walltime_s = one.member.walltime_s or 0.0
        earliest = one.ends_at - walltime_s * _EARLIEST
        moved = min(due[place], due[place + places] - lasts_s)
        due[place] = min(due[place], max(moved, earliest))
    return {
        renewal.instance: Renewal(
            instance=renewal.instance, due_at=due[place], must_at=renewal.must_at
        )
        for place, (renewal, _, _) in enumerate(found)
    }
