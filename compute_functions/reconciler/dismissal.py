"""How an instance is let go: told to drain if it may have requests, else cancelled."""

from __future__ import annotations

from compute_functions.contract.instances import InstanceState
from compute_functions.reconciler.actions import Cancel, Drain
from compute_functions.reconciler.policy import Policy
from compute_functions.reconciler.standing import Judged, Standing


def dismissal(one: Judged, reason: str, *, policy: Policy, now: float) -> Drain | Cancel:
    """Return what ends an instance without cutting a request short before its time."""
    member = one.member
    if one.standing is Standing.WAITING or (
        one.standing is Standing.STARTING and member.registered
    ):
        return Cancel(instance=member.instance, job_id=member.job_id, reason=reason)
    # One that has not registered may have lost its registration, and have requests.
    return Drain(
        instance=member.instance,
        job_id=member.job_id,
        until=min(now + policy.drain_s, one.ends_at),
        reason=reason,
    )


def overdue(one: Judged, *, policy: Policy, now: float) -> Cancel | None:
    """Return what ends an instance that should have ended by itself; None if it still may."""
    if one.standing is Standing.LOST:
        reason = one.fault
    elif one.standing is Standing.LEAVING:
        reason = _left(one, policy, now)
    elif one.standing is Standing.GONE and one.ends_at + policy.settle_s < now:
        reason = "its walltime is over"
    else:
        reason = ""
    if not reason:
        return None
    return Cancel(instance=one.member.instance, job_id=one.member.job_id, reason=reason)


def _left(one: Judged, policy: Policy, now: float) -> str:
    """Return why there is nothing more to wait for; nothing if there is."""
    told, said = one.member.draining, one.member.registered
    if said is not None and said.state is InstanceState.STOPPED:
        return "it stopped, and its job did not end" if said.silent_s > policy.settle_s else ""
    if told is None:
        return ""
    if told.until + policy.settle_s < now:
        return "its time to drain is over"
    if told.since + policy.settle_s >= now:
        return ""
    if said is None:
        return "it was told to drain, and has not registered"
    drained = said.state is InstanceState.DRAINING and said.in_flight == 0
    return "it has drained, and did not end" if drained else ""
