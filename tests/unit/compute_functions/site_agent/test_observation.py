"""What is told of instances: queued, starting, ready, and when they will be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.contract import FOR_BATCHES, AgentReport, Instance, InstanceState, Stage
from compute_functions.drivers import Job, JobState
from compute_functions.instances import Registration
from compute_functions.reconciler.estimate import Estimate
from compute_functions.reconciler.member import Draining, Member, Registered
from compute_functions.site_agent import observation
from compute_functions.site_agent.looking import Site

NOW = 1_000.0
AGENT = AgentReport(host="login", pid=1, fence=1, started_at=1.0, version="1")
MEMBER = Member(
    instance="m-1",
    model="vendor/m",
    framework="vllm",
    state=JobState.PENDING,
    job_id="7",
    fence=1,
    submitted_at=NOW - 10,
    gpus=2,
    walltime_s=600.0,
)
JOB = Job(
    job_id="7",
    instance="m-1",
    state=JobState.PENDING,
    generation=1,
    fence=1,
    reason="Resources",
    ahead=3,
)
REGISTRATION = Registration(
    name="m-1",
    model="vendor/m",
    framework="vllm",
    state=InstanceState.READY,
    endpoint="/socket",
    api_key_file="/key",
    pid=1,
    pid_start=1,
    job_id="7",
    host="n1",
    started_at=NOW - 5,
    heartbeat=NOW,
    paths={},
    ready_at=NOW - 1,
)


def told(
    member: Member,
    *,
    job: Job | None = None,
    registration: Registration | None = None,
    estimate: Estimate | None = None,
) -> Instance:
    site = Site(
        jobs={"m-1": job} if job else {},
        registrations={"m-1": registration} if registration else {},
    )
    status = observation.status(
        site,
        [member],
        now=NOW,
        estimates={member.key: estimate} if estimate else {},
        outlooks=(),
        agent=AGENT,
    )
    assert (status.observed_at, status.agent) == (NOW, AGENT)
    (instance,) = status.instances
    return instance


def test_a_job_that_waits_is_queued_with_its_place_and_reason() -> None:
    found = told(MEMBER, job=JOB)
    assert (found.state, found.stage) == (InstanceState.QUEUED, None)
    assert (found.ahead, found.reason, found.gpus, found.walltime_s) == (3, "Resources", 2, 600.0)
    assert found.ready_at is None


@pytest.mark.parametrize(
    ("starts_at", "estimate", "ready_at"),
    [
        (NOW + 50, Estimate(load_s=20.0), NOW + 70),
        # The scheduler's own word counts more than what was usual.
        (NOW + 50, Estimate(queue_s=1.0, load_s=20.0), NOW + 70),
        (None, Estimate(queue_s=30.0, load_s=20.0), NOW + 40),
        # It is over what is usual: it may come any moment.
        (None, Estimate(queue_s=5.0, load_s=20.0), NOW + 20),
        (None, Estimate(load_s=20.0), None),
        (NOW + 50, Estimate(queue_s=30.0), None),
    ],
)
def test_of_a_job_that_waits_it_is_told_when_it_will_be_ready(
    starts_at: float | None, estimate: Estimate, ready_at: float | None
) -> None:
    found = told(MEMBER, job=replace(JOB, starts_at=starts_at), estimate=estimate)
    assert found.ready_at == ready_at


def test_a_job_that_runs_and_has_said_nothing_is_starting() -> None:
    running = replace(MEMBER, state=JobState.RUNNING, started_at=NOW - 5, nodes=("n1",))
    found = told(running, job=JOB, estimate=Estimate(load_s=20.0))
    assert (found.state, found.stage, found.host) == (InstanceState.STARTING, Stage.NODE, "n1")
    assert found.ready_at == NOW + 15


def test_one_that_starts_has_no_place_in_the_queue_though_the_scheduler_was_asked_before() -> None:
    registration = replace(REGISTRATION, state=InstanceState.STARTING, ready_at=None)
    found = told(MEMBER, job=JOB, registration=registration)
    assert (found.state, found.ahead, found.reason) == (InstanceState.STARTING, None, "")


def test_a_ready_one_that_was_told_to_drain_drains() -> None:
    running = replace(MEMBER, state=JobState.RUNNING, started_at=NOW - 5, ends_at=NOW + 100)
    assert told(running, registration=REGISTRATION).state is InstanceState.READY
    draining = replace(running, draining=Draining(since=NOW, until=NOW + 50))
    found = told(draining, registration=REGISTRATION)
    assert (found.state, found.ends_at) == (InstanceState.DRAINING, NOW + 100)


def test_an_instance_that_an_operator_started_by_hand_is_told_too() -> None:
    site = Site(registrations={"by-hand": replace(REGISTRATION, name="by-hand")})
    status = observation.status(site, [], now=NOW, estimates={}, outlooks=(), agent=AGENT)
    assert [instance.name for instance in status.instances] == ["by-hand"]


@pytest.mark.parametrize(
    ("listing", "silent_s", "state"),
    [
        (1, 5.0, InstanceState.READY),
        (1, 7.0, InstanceState.FAILED),
        # An agent has just begun, and Slurm has not answered: nobody knows of any job.
        (0, 7.0, InstanceState.READY),
    ],
)
def test_one_of_ours_that_is_silent_and_has_no_job_is_gone(
    listing: int, silent_s: float, state: InstanceState
) -> None:
    ordered = replace(
        REGISTRATION, submitted_at=NOW - 100, heartbeat=NOW - silent_s, heartbeat_s=2.0
    )
    site = Site(listing=listing, registrations={"m-1": ordered})
    status = observation.status(site, [], now=NOW, estimates={}, outlooks=(), agent=AGENT)
    assert [instance.state for instance in status.instances] == [state]


def test_a_ready_one_whose_job_is_ending_is_not_shown_as_ready() -> None:
    ending = replace(MEMBER, state=JobState.ENDING, started_at=NOW - 5)
    assert told(ending, registration=REGISTRATION).state is InstanceState.DRAINING


@pytest.mark.parametrize(
    ("state", "silent_s", "seen"),
    [
        (JobState.ENDING, 3.1, InstanceState.FAILED),
        # It ends, and finishes what it has.
        (JobState.ENDING, 2.9, InstanceState.DRAINING),
        # The disk may be slow: it is not given up.
        (JobState.RUNNING, 30.0, InstanceState.READY),
    ],
)
def test_one_that_was_given_up_because_it_is_silent_is_gone(
    state: JobState, silent_s: float, seen: InstanceState
) -> None:
    registered = Registered(state=InstanceState.READY, silent_s=silent_s, ready_at=NOW - 1)
    member = replace(MEMBER, state=state, started_at=NOW - 5, registered=registered)

    instance = told(
        member, job=replace(JOB, state=state), registration=replace(REGISTRATION, heartbeat_s=1.0)
    )

    assert instance.state is seen


def test_whom_an_instance_is_for_is_told_whatever_is_known_of_it():
    alone = replace(MEMBER, purpose=FOR_BATCHES)
    assert told(alone, job=JOB).purpose == FOR_BATCHES
    running = replace(alone, state=JobState.RUNNING)
    # One of a job that began before the site was updated does not say it itself.
    assert told(running, registration=REGISTRATION).purpose == FOR_BATCHES
    assert told(MEMBER, job=JOB).purpose == ""
