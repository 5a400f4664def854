"""Who gets room, and who yields it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.drivers.driver import JobState
from compute_functions.reconciler import Draining, Policy, decide
from tests.support.site_views import (
    NOW,
    again,
    cancelled,
    capacity,
    demand,
    drained,
    model,
    on_demand,
    outlook,
    pending,
    ready,
    starting,
    submits,
    view,
)

pytestmark = pytest.mark.row("C-60")

POOL = [on_demand("a", idle_timeout_s=9e4), on_demand("b", idle_timeout_s=9e4), on_demand("c")]
WANTS_C = demand("c", waiting=1)


def full(*demands, a=None, b=None, **values):
    """Return a pool of two GPUs with a and b on them, used a while ago, and a caller of c."""
    told = demands or (demand("a", used_s=99.0), demand("b", used_s=99.0))
    said = {"capacity": capacity(2, 0), **values}
    return view(POOL, ready("a-1", said=a), ready("b-1", said=b), demand=(*told, WANTS_C), **said)


def test_the_least_recently_used_idle_model_yields():
    seen = full(demand("a", used_s=100.0), demand("b", used_s=200.0))
    decision = decide(seen)
    assert len(submits(decision)) == 1  # It stands in the queue at once.
    waiting = replace(seen, members=(*seen.members, pending("c-1")))
    found = again(waiting)
    assert drained(found) == ["b-1"]
    other = full(demand("a", used_s=300.0), demand("b", used_s=200.0))
    assert drained(again(replace(other, members=waiting.members))) == ["a-1"]


def test_nobody_yields_for_a_lack_seen_once():
    seen = full()
    waiting = replace(seen, members=(*seen.members, pending("c-1")))
    assert decide(waiting).actions == ()


def test_one_with_requests_under_way_never_yields():
    seen = full(demand("a", used_s=100.0), demand("b", used_s=200.0), b={"in_flight": 1})
    waiting = replace(seen, members=(*seen.members, pending("c-1")))
    assert drained(again(waiting)) == ["a-1"]


@pytest.mark.parametrize("count", [1, None])
def test_when_every_one_is_busy_the_model_waits_and_says_so(count):
    seen = full(a={"in_flight": count}, b={"in_flight": count})
    waiting = replace(seen, members=(*seen.members, pending("c-1")))
    found = again(waiting)
    assert found.actions == ()
    assert outlook(found, "c").waits


def test_one_whose_callers_wait_or_that_was_just_used_does_not_yield():
    seen = full(demand("a", used_s=5.0), demand("b", waiting=1))
    waiting = replace(seen, members=(*seen.members, pending("c-1")))
    assert again(waiting).actions == ()


def test_one_that_min_pins_does_not_yield():
    pinned = [model("a"), model("b"), on_demand("c")]
    waiting = view(
        pinned,
        ready("a-1"),
        ready("b-1"),
        pending("c-1"),
        demand=(WANTS_C,),
        capacity=capacity(2, 0),
    )
    assert again(waiting).actions == ()
    spare = replace(waiting, desired=view([on_demand("a"), *pinned[1:]]).desired)
    assert drained(again(replace(spare, demand=(WANTS_C, demand("a", used_s=50.0))))) == ["a-1"]


def test_nobody_yields_in_vain():
    big = [*POOL[:2], on_demand("c", gpus=2)]
    waiting = view(
        big,
        ready("a-1"),
        ready("b-1", said={"in_flight": 1}),
        pending("c-1", gpus=2),
        demand=(WANTS_C, demand("a", used_s=99.0), demand("b", used_s=99.0)),
        capacity=capacity(2, 0),
    )
    assert again(waiting).actions == ()


def test_no_more_yield_than_are_needed_while_one_leaves():
    seen = full(demand("a", used_s=100.0), demand("b", used_s=200.0))
    leaving = replace(seen.members[1], draining=Draining(since=NOW - 3, until=NOW + 99))
    waiting = replace(seen, members=(seen.members[0], leaving, pending("c-1")))
    assert again(waiting).actions == ()


def test_what_yielded_is_not_started_again_because_it_was_once_used():
    seen = full(demand("a", used_s=100.0), demand("b", used_s=200.0))
    waiting = replace(seen, members=(*seen.members, pending("c-1")))
    memory = again(waiting).memory
    gone = view(
        POOL,
        ready("a-1"),
        ready("c-1"),
        demand=seen.demand,
        capacity=capacity(4, 2),
        memory=memory,
        now=NOW + 30,
    )
    used = (demand("a", used_s=130.0), demand("b", used_s=230.0), WANTS_C)
    assert submits(decide(replace(gone, demand=used))) == []
    asked = (demand("b", waiting=1), WANTS_C)
    assert [one.key.model for one in submits(decide(replace(gone, demand=asked)))] == ["b"]


def test_the_policys_gpus_bound_what_is_submitted_and_a_place_is_made_first():
    seen = full(
        demand("a", used_s=100.0), demand("b", used_s=200.0), policy=Policy(gpus=2), capacity=None
    )
    first = decide(seen)
    assert first.actions == ()
    assert "GPUs" in outlook(first, "c").waits
    assert drained(again(seen)) == ["b-1"]


def test_the_policys_jobs_bound_what_is_submitted():
    seen = view([model("a"), model("b")], policy=Policy(jobs=1))
    decision = decide(seen)
    assert [one.key.model for one in submits(decision)] == ["a"]
    assert "jobs" in outlook(decision, "b").waits


def test_a_higher_priority_is_served_first():
    seen = view([model("a"), model("b", priority=5)], policy=Policy(jobs=1))
    assert [one.key.model for one in submits(decide(seen))] == ["b"]


@pytest.mark.row("C-59")
def test_a_hot_model_goes_before_on_demand_ones_whatever_their_priority():
    seen = view(
        [on_demand("a", priority=9), model("b")],
        demand=(demand("a", waiting=1),),
        policy=Policy(jobs=1),
    )
    assert [one.key.model for one in submits(decide(seen))] == ["b"]


def test_jobs_of_on_demand_models_do_not_stand_before_a_hot_one_in_the_queue():
    waiting = view(
        [on_demand("a"), model("b")],
        pending("a-1", submitted_at=NOW - 20),
        pending("b-1", submitted_at=NOW - 10),
        demand=(demand("a", waiting=1),),
        capacity=capacity(2, 0),
    )
    found = again(waiting)
    assert cancelled(found) == ["a-1"]
    assert submits(found) == []
    without = replace(waiting, members=waiting.members[1:])
    held = decide(without)
    assert held.actions == ()
    assert outlook(held, "a").waits
    # A hot job that waits for ever does not hold the others for ever.
    stuck = replace(without, members=(pending("b-1", submitted_at=NOW - 100),))
    assert [one.key.model for one in submits(decide(stuck))] == ["a"]


def test_a_job_that_waits_though_the_sums_allow_it_makes_idle_ones_yield_one_at_a_time():
    waiting = view(
        [*POOL[:2], model("c", gpus=2)],
        ready("a-1"),
        ready("b-1"),
        pending("c-1", gpus=2, submitted_at=NOW - 100),
        demand=(demand("a", used_s=100.0), demand("b", used_s=200.0)),
        capacity=capacity(4, 2),
    )
    assert drained(again(waiting)) == ["b-1"]


def test_the_gpus_of_a_job_that_ends_are_taken():
    seen = view(
        [model("a"), model("b")],
        ready("a-1", state=JobState.ENDING),
        starting("a-2"),
        policy=Policy(gpus=2),
    )
    assert submits(decide(seen)) == []


def test_a_model_that_was_used_lately_comes_back_only_into_free_room():
    used = (demand("a", used_s=50.0),)
    seen = view([on_demand("a")], demand=used, capacity=capacity(2, 1))
    assert len(submits(decide(seen))) == 1
    taken = replace(seen, capacity=capacity(2, 0))
    assert decide(taken).actions == ()


def test_room_that_is_made_goes_to_the_hot_model_first():
    waiting = view(
        [on_demand("a", idle_timeout_s=9e4), on_demand("d", priority=9), model("h")],
        ready("a-1"),
        pending("h-1", submitted_at=NOW - 20),
        pending("d-1", submitted_at=NOW - 10),
        demand=(demand("a", used_s=99.0), demand("d", waiting=1)),
        capacity=capacity(1, 0),
    )
    (drain,) = again(waiting).actions
    assert (drain.instance, drain.reason) == ("a-1", "it yields to h (vllm)")
