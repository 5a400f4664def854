"""What the agent tells the gateway: every instance, with what is known of when it will be ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from compute_functions.contract import (
    AgentReport,
    Instance,
    InstanceState,
    ModelOutlook,
    SiteStatus,
    Stage,
)
from compute_functions.drivers import Job, JobState
from compute_functions.instances import Registration
from compute_functions.reconciler.estimate import Estimate
from compute_functions.reconciler.member import Member
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.site_agent.looking import Site

_UNKNOWN = Estimate()
#: So many heartbeats without a sign, and without a job, and an instance is gone.
_MISSED = 3


def status(
    site: Site,
    members: Iterable[Member],
    *,
    now: float,
    estimates: Mapping[ModelKey, Estimate],
    outlooks: tuple[ModelOutlook, ...],
    agent: AgentReport,
) -> SiteStatus:
    """Return the observation."""
    ours = {member.instance: member for member in members}
    of_jobs = [
        _of_member(member, site, now, estimates.get(member.key, _UNKNOWN))
        for member in ours.values()
    ]
    of_others = [
        _of_other(registration, now, jobs_known=site.listing > 0)
        for name, registration in sorted(site.registrations.items())
        if name not in ours
    ]
    return SiteStatus(
        observed_at=now, instances=(*of_jobs, *of_others), outlooks=outlooks, agent=agent
    )


def same(one: SiteStatus, other: SiteStatus | None) -> bool:
    """Tell whether two observations differ in nothing but their time, and what moves with it."""
    if other is None:
        return False
    return (
        _still(one) == _still(other) and one.outlooks == other.outlooks and one.agent == other.agent
    )


def _still(status: SiteStatus) -> list[tuple[object, ...]]:
    """Return of each instance what does not change from one moment to the next."""
    return [
        (one.name, one.model, one.state, one.stage, one.job_id, one.host, one.detail, one.ahead)
        for one in status.instances
    ]


def _of_other(registration: Registration, now: float, *, jobs_known: bool) -> Instance:
    """Return what says of itself that it is there, and has no job that is known.

    One of ours that has fallen silent too is gone: it would look ready for as long as one may that
    somebody else watches. Until the scheduler has answered for the first time nobody knows that: a
    hub would cut off its relay for a slow disk.
    """
    known = registration.to_instance()
    silent_s = now - registration.heartbeat
    has_no_job = jobs_known and registration.submitted_at is not None
    if registration.attended and has_no_job and silent_s > _MISSED * registration.heartbeat_s:
        return replace(
            known, state=InstanceState.FAILED, detail="its job has ended", gpu_percent=None
        )
    return known


def _of_member(member: Member, site: Site, now: float, estimate: Estimate) -> Instance:
    job = site.jobs.get(member.instance)
    registration = site.registrations.get(member.instance)
    known = _registered(member, registration) if registration else _unregistered(member)
    # It may have said that it starts after the scheduler was last asked.
    waiting = job if known.state is InstanceState.QUEUED else None
    return replace(
        known,
        name=member.instance,
        job_id=member.job_id,
        purpose=member.purpose,
        gpus=member.gpus or known.gpus,
        walltime_s=member.walltime_s if member.walltime_s is not None else known.walltime_s,
        submitted_at=member.submitted_at,
        ready_at=_ready_at(known, member, job, now, estimate),
        ends_at=member.ends_at,
        reason=waiting.reason if waiting else "",
        ahead=waiting.ahead if waiting else None,
    )


def _registered(member: Member, registration: Registration) -> Instance:
    """Return what an instance says of itself, unless its job tells otherwise."""
    known = registration.to_instance()
    if _is_lost(member, registration):
        return replace(
            known, state=InstanceState.FAILED, detail="its node does not answer", gpu_percent=None
        )
    is_leaving = member.draining is not None or member.state is JobState.ENDING
    if is_leaving and known.state is InstanceState.READY:
        return replace(known, state=InstanceState.DRAINING)
    return known


def _is_lost(member: Member, registration: Registration) -> bool:
    """Tell whether an instance was given up, and says nothing any more: nobody is to wait for it.

    While its job is not ended the reconciler may think that the shared disk is slow.
    """
    silent_s = member.registered.silent_s if member.registered else 0.0
    is_ending = member.state is JobState.ENDING
    return is_ending and registration.attended and silent_s > _MISSED * registration.heartbeat_s


def _unregistered(member: Member) -> Instance:
    """Return what a job is that has not said anything yet."""
    is_pending = member.state is JobState.PENDING
    state = {
        JobState.PENDING: InstanceState.QUEUED,
        JobState.RUNNING: InstanceState.STARTING,
        JobState.ENDING: InstanceState.STOPPED,
    }[member.state]
    return Instance(
        model=member.model,
        framework=member.framework,
        state=state,
        job_id=member.job_id,
        host=member.nodes[0] if member.nodes else "",
        started_at=member.started_at or member.submitted_at,
        stage=None if is_pending else Stage.NODE,
    )


def _ready_at(
    known: Instance, member: Member, job: Job | None, now: float, estimate: Estimate
) -> float | None:
    """Return when an instance became ready, or will be as far as anybody can say."""
    if known.ready_at is not None:
        return known.ready_at
    if estimate.load_s is None or known.state not in {InstanceState.QUEUED, InstanceState.STARTING}:
        return None
    if member.started_at is not None:
        return max(now, member.started_at + estimate.load_s)
    starts_at = job.starts_at if job else None
    if starts_at is None:
        if estimate.queue_s is None:
            return None
        starts_at = member.submitted_at + estimate.queue_s
    return max(now, starts_at) + estimate.load_s
