"""Instances for batches alone: kept beside those for callers, and never counted for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compute_functions.contract import FOR_BATCHES, InstanceState
from compute_functions.reconciler import Decision, Member, ModelKey, Registered, decide
from tests.support.site_views import (
    KEY,
    NOW,
    again,
    cancelled,
    capacity,
    demand,
    drained,
    model,
    on_demand,
    pending,
    ready,
    running,
    submits,
    view,
)

CALLERS = on_demand(idle_timeout_s=600.0)
#: As a gateway desires it of a model's file with `batch: {placement: own}`.
ALONE = on_demand(purpose=FOR_BATCHES, idle_timeout_s=60.0, refresh=False, priority=-10_000_000)
OWN = ModelKey("m", "vllm", FOR_BATCHES)
A_BATCH_WAITS = demand(purpose=FOR_BATCHES, waiting=1)
A_BATCH_RUNS = demand(purpose=FOR_BATCHES, running=1, used_s=0.0)


def own(name: str = "m-9", **values: Any) -> Member:
    """Return an instance for batches that serves."""
    return ready(name, purpose=FOR_BATCHES, **values)


def ordered(decision: Decision) -> list[ModelKey]:
    return [one.key for one in submits(decision)]


def test_a_batch_starts_one_although_callers_have_one_and_the_other_way_round():
    both = [CALLERS, ALONE]
    assert ordered(decide(view(both, ready("m-1"), demand=(A_BATCH_WAITS,)))) == [OWN]
    assert ordered(decide(view(both, own(), demand=(demand(waiting=1),)))) == [KEY]


def test_it_goes_when_no_batch_has_used_it_for_its_own_time():
    """The callers' instance is let be: its time is another."""
    used_s = {"demand": (demand(used_s=61.0), demand(purpose=FOR_BATCHES, used_s=61.0))}
    site = view([CALLERS, ALONE], ready("m-1"), own(), **used_s)
    assert drained(decide(site)) == ["m-9"]
    just_now = (demand(used_s=61.0), demand(purpose=FOR_BATCHES, used_s=50.0))
    assert drained(decide(replace(site, demand=just_now))) == []


@pytest.mark.parametrize("purpose", ["", FOR_BATCHES])
def test_one_whose_order_is_lost_is_still_not_for_callers(purpose: str):
    """Its job's comment tells the purpose; only the framework is unknown."""
    lost = ready("m-9", framework="", gpus=None, purpose=purpose)
    found = decide(view([model(), ALONE], lost, demand=(A_BATCH_RUNS,)))
    assert ordered(found) == ([KEY] if purpose else [OWN])


def test_it_has_no_successor_while_it_works_and_one_when_it_leaves():
    old = own(age=3590.0, walltime_s=3600.0)
    site = view([ALONE], old, demand=(A_BATCH_RUNS,))
    assert again(site).actions == ()
    drains = Registered(state=InstanceState.DRAINING, silent_s=1.0, ready_at=NOW - 3000)
    leaving = running("m-9", 3595.0, purpose=FOR_BATCHES, registered=drains)
    assert ordered(decide(replace(site, members=(leaving,)))) == [OWN]


def test_callers_of_any_model_get_the_room_first():
    site = view(
        [ALONE, on_demand("z")],
        capacity=capacity(1, 1),
        demand=(A_BATCH_WAITS, demand("z", waiting=1)),
        policy=replace(view([]).policy, gpus=1),
    )
    assert [key.model for key in ordered(decide(site))] == ["z"]


@pytest.mark.parametrize(
    ("batches", "yields"),
    [(demand(purpose=FOR_BATCHES, used_s=55.0), ["m-9"]), (A_BATCH_RUNS, [])],
    ids=["idle", "at work"],
)
def test_it_yields_to_callers_when_it_is_idle(batches, yields):
    site = view(
        [ALONE, on_demand("z")],
        own(),
        pending("z-1"),
        capacity=capacity(1, 0),
        demand=(batches, demand("z", waiting=1)),
    )
    assert drained(again(site)) == yields


def test_a_hot_model_takes_its_place_in_the_queue():
    site = view(
        [model("h"), ALONE],
        pending("m-9", purpose=FOR_BATCHES, submitted_at=NOW - 60),
        pending("h-1"),
        capacity=capacity(1, 0),
        demand=(A_BATCH_WAITS,),
    )
    assert cancelled(again(site)) == ["m-9"]


def test_more_batches_bring_more_of_them_up_to_their_most():
    site = view(
        [replace(ALONE, max=2, autoscale=True)],
        own(),
        demand=(demand(purpose=FOR_BATCHES, waiting=3, running=1),),
    )
    assert ordered(again(site, times=10, seconds=30.0)) == [OWN]
    full = replace(site, members=(own(), own("m-8")))
    assert ordered(again(full, times=10, seconds=30.0)) == []


def test_one_that_is_desired_no_more_ends_once_it_is_quiet_and_is_no_caller_s_meanwhile():
    site = view([model()], own(), ready("m-1"))
    assert decide(site).actions == ()
    assert drained(again(site, times=30, seconds=10.0)) == ["m-9"]
