"""Members: each instance once, from whatever is known of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.contract import InstanceState
from compute_functions.drivers import Job, JobState
from compute_functions.instances import Registration
from compute_functions.orders import Order
from compute_functions.reconciler.member import Draining
from compute_functions.site_agent.looking import UNSURE_S, Look, Site

NOW = 1_000.0
ORDER = Order(
    instance="m-1",
    model="vendor/m",
    framework="vllm",
    engine_file="/e.yaml",
    model_file="/m.yaml",
    gpus=2,
    walltime_s=600.0,
    submitted_at=NOW,
    generation=1,
    fence=3,
)
JOB = Job(
    job_id="7",
    instance="m-1",
    state=JobState.RUNNING,
    generation=1,
    fence=3,
    model="vendor/m",
    nodes=("n1",),
    left_s=500.0,
    limit_s=600.0,
    submitted_at=NOW - 5,
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
    started_at=NOW - 3,
    heartbeat=NOW - 100,
    paths={},
    ready_at=NOW - 1,
    in_flight=4,
    waiting=2.0,
    detail="as it says",
)


class Times:
    """A wall clock and a steady one."""

    def __init__(self) -> None:
        self.wall = NOW
        self.steady = 0.0


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def look(times: Times) -> Look:
    return Look(now=lambda: times.wall, clock=lambda: times.steady)


def test_a_member_is_job_order_and_registration_in_one(look: Look) -> None:
    site = Site(
        jobs={"m-1": JOB},
        orders={"m-1": ORDER},
        registrations={"m-1": REGISTRATION},
        told={"m-1": Draining(since=1.0, until=2.0)},
    )
    (member,) = look.members(site, submitted=())
    assert (member.model, member.framework, member.gpus) == ("vendor/m", "vllm", 2)
    assert (member.job_id, member.state, member.nodes) == ("7", JobState.RUNNING, ("n1",))
    assert member.started_at == NOW - 3
    assert member.ends_at == NOW + 500
    assert member.submitted_at == NOW - 5
    assert member.draining == Draining(since=1.0, until=2.0)
    assert member.registered is not None
    assert member.registered.detail == "as it says"
    assert member.registered.in_flight == 4
    assert member.registered.engine_waiting == 2


def test_silence_is_measured_here_whatever_clock_the_node_has(look: Look, times: Times) -> None:
    site = Site(jobs={"m-1": JOB}, orders={"m-1": ORDER}, registrations={"m-1": REGISTRATION})

    def silent_s(site: Site) -> float:
        (member,) = look.members(site, submitted=())
        assert member.registered is not None
        return member.registered.silent_s

    assert silent_s(site) == 0.0
    times.steady = 5.0
    assert silent_s(site) == 5.0
    beaten = {"m-1": replace(REGISTRATION, heartbeat=NOW - 99)}
    assert silent_s(replace(site, registrations=beaten)) == 0.0


def test_a_job_without_order_is_known_by_its_comment(look: Look) -> None:
    (member,) = look.members(Site(jobs={"m-1": JOB}), submitted=())
    assert (member.model, member.framework, member.gpus) == ("vendor/m", "", None)
    assert member.registered is None


def test_when_a_job_began_is_remembered(look: Look, times: Times) -> None:
    site = Site(jobs={"m-1": JOB}, orders={"m-1": ORDER})
    look.members(site, submitted=())
    times.wall += 60
    (member,) = look.members(site, submitted=())
    assert member.started_at == NOW


def test_the_end_of_a_job_stands_still_however_late_one_looks(look: Look, times: Times) -> None:
    site = Site(listing=1, jobs={"m-1": JOB}, orders={"m-1": ORDER})
    (first,) = look.members(site, submitted=())
    times.wall += 3
    (again,) = look.members(site, submitted=())
    times.wall += 2
    # The next list says whole seconds, and is read a moment after the scheduler made it.
    listed = replace(site, listing=2, jobs={"m-1": replace(JOB, left_s=496.0)})
    (later,) = look.members(listed, submitted=())
    assert [one.ends_at for one in (first, again, later)] == [NOW + 500] * 3


def test_an_end_that_operators_move_is_seen(look: Look) -> None:
    site = Site(listing=1, jobs={"m-1": JOB}, orders={"m-1": ORDER})
    look.members(site, submitted=())
    for listing, left_s in ((2, 900.0), (3, 60.0)):
        moved = replace(site, listing=listing, jobs={"m-1": replace(JOB, left_s=left_s)})
        (member,) = look.members(moved, submitted=())
        assert member.ends_at == NOW + left_s


def test_an_end_moves_with_the_clock(look: Look, times: Times) -> None:
    site = Site(listing=1, jobs={"m-1": JOB}, orders={"m-1": ORDER})
    look.members(site, submitted=())
    times.wall += 100
    look.shift(100)
    (member,) = look.members(site, submitted=())
    assert member.ends_at == NOW + 600


def test_a_pending_job_has_not_begun(look: Look) -> None:
    pending = replace(JOB, state=JobState.PENDING, nodes=(), left_s=None)
    (member,) = look.members(Site(jobs={"m-1": pending}, orders={"m-1": ORDER}), submitted=())
    assert (member.started_at, member.ends_at) == (None, None)


def test_an_order_whose_job_may_be_there_counts_for_a_while(look: Look, times: Times) -> None:
    site = Site(orders={"m-1": ORDER})
    (member,) = look.members(site, submitted=())
    assert (member.state, member.job_id) == (JobState.PENDING, "")
    times.steady += UNSURE_S
    assert look.members(site, submitted=()) == ()


def test_the_clock_of_the_host_that_ordered_it_does_not_matter(look: Look, times: Times) -> None:
    for ahead_s in (-120.0, 120.0):
        order = replace(ORDER, instance=f"m{ahead_s:g}", submitted_at=NOW + ahead_s)
        assert len(look.members(Site(orders={order.instance: order}), submitted=())) == 1


def test_an_order_from_long_ago_has_no_job_that_will_come(look: Look) -> None:
    old = replace(ORDER, submitted_at=NOW - 3600)
    assert look.members(Site(orders={"m-1": old}), submitted=()) == ()


def test_an_instance_whose_heart_beats_is_there_though_no_list_has_its_job(
    look: Look, times: Times
) -> None:
    beats = replace(REGISTRATION, heartbeat_s=2.0, ends_at=NOW + 400)
    site = Site(listing=1, jobs={"m-1": JOB}, orders={"m-1": ORDER}, registrations={"m-1": beats})
    look.members(site, submitted={"m-1"})
    for listing in range(2, 6):
        beats = replace(beats, heartbeat=beats.heartbeat + 2)
        times.steady += 2
        missed = replace(site, listing=listing, jobs={}, registrations={"m-1": beats})
        (member,) = look.members(missed, submitted={"m-1"})
        assert (member.job_id, member.state) == ("7", JobState.RUNNING)
        assert member.ends_at == NOW + 400
    times.steady += 5
    assert look.members(replace(missed, listing=6), submitted={"m-1"}) == ()


def test_an_instance_that_says_that_it_has_ended_is_gone_with_its_job(look: Look) -> None:
    site = Site(listing=1, jobs={"m-1": JOB}, orders={"m-1": ORDER})
    look.members(site, submitted=())
    ended = replace(REGISTRATION, state=InstanceState.STOPPED)
    gone = replace(site, listing=2, jobs={}, registrations={"m-1": ended})
    assert look.members(gone, submitted=()) == ()


def test_one_list_that_misses_a_waiting_job_does_not_bring_another(look: Look) -> None:
    pending = replace(JOB, state=JobState.PENDING, nodes=(), left_s=None)
    site = Site(listing=1, jobs={"m-1": pending}, orders={"m-1": ORDER})
    look.members(site, submitted={"m-1"})
    missed = replace(site, listing=2, jobs={})
    for _ in range(3):  # However often the same list is looked at.
        (member,) = look.members(missed, submitted={"m-1"})
        assert member.state is JobState.PENDING
    assert look.members(replace(missed, listing=3), submitted={"m-1"}) == ()


def test_a_job_that_was_taken_and_is_no_more_has_ended(look: Look) -> None:
    assert look.members(Site(orders={"m-1": ORDER}), submitted={"m-1"}) == ()
