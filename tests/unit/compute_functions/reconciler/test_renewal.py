"""When a successor is ordered, and how many at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.reconciler import Draining, Estimate, Policy, decide
from tests.support.site_views import (
    KEY,
    NOW,
    demand,
    drained,
    model,
    on_demand,
    pending,
    ready,
    starting,
    submits,
    view,
)

pytestmark = pytest.mark.row("A-19", "L-23")

#: Loads at once: then the ratio decides, and rollovers need not hurry until 90 s before the end.
QUICK = {KEY: Estimate(load_s=10.0, queue_s=0.0)}
TWO = [model("a"), model("b")]
QUICK_TWO = {type(KEY)(name, "vllm"): Estimate(load_s=10.0, queue_s=0.0) for name in "ab"}


@pytest.mark.parametrize(("age", "orders"), [(3239.0, 0), (3240.0, 1)])
def test_a_successor_is_ordered_when_the_ratio_of_the_walltime_is_over(age, orders):
    seen = view([model()], ready("m-1", age=age), estimates=QUICK)
    found = submits(decide(seen))
    assert [one.replaces for one in found] == ["m-1"] * orders


@pytest.mark.parametrize(("age", "orders"), [(2199.0, 0), (2200.0, 1)])
def test_it_is_ordered_earlier_where_a_cold_start_takes_longer(age, orders):
    slow = {KEY: Estimate(load_s=500.0, queue_s=400.0)}
    seen = view([model()], ready("m-1", age=age), estimates=slow)
    assert len(submits(decide(seen))) == orders


def test_it_is_ordered_at_half_of_the_walltime_at_the_earliest():
    slow = {KEY: Estimate(load_s=1200.0, queue_s=0.0)}
    assert submits(decide(view([model()], ready("m-1", age=1799), estimates=slow))) == []
    assert len(submits(decide(view([model()], ready("m-1", age=1800), estimates=slow)))) == 1


def test_where_nobody_knows_the_instance_itself_tells_how_long_it_loaded():
    slow = ready("m-1", age=2700, said={"ready_at": NOW - 2700 + 450})
    assert len(submits(decide(view([model()], slow)))) == 1
    assert submits(decide(view([model()], ready("m-1", age=2700)))) == []


def test_one_successor_is_enough_and_the_old_one_stays_until_it_is_ready():
    old = ready("m-1", age=3400)
    for successor in (pending("m-2"), starting("m-2")):
        assert decide(view([model()], old, successor, estimates=QUICK)).actions == ()
    decision = decide(view([model()], old, ready("m-2", age=50), estimates=QUICK))
    assert drained(decision) == ["m-1"]
    assert submits(decision) == []


def test_with_one_place_of_surge_one_model_rolls_over_and_the_next_waits():
    seen = view(TWO, ready("a-1", age=3310), ready("b-1", age=3300), estimates=QUICK_TWO)
    assert [one.replaces for one in submits(decide(seen))] == ["a-1"]
    two_places = replace(seen, policy=Policy(surge=2))
    assert len(submits(decide(two_places))) == 2
    leaving = ready("a-1", age=3310, draining=Draining(since=NOW, until=NOW + 99))
    under_way = replace(seen, members=(leaving, ready("a-2", age=30), ready("b-1", age=3300)))
    assert submits(decide(under_way)) == []


def test_the_next_does_not_wait_when_there_is_just_time_for_a_cold_start():
    members = (ready("a-1", age=3525), ready("b-1", age=3525))
    seen = view(TWO, *members, estimates=QUICK_TWO)
    assert len(submits(decide(seen))) == 2


def test_of_two_that_would_be_due_together_one_is_renewed_earlier():
    # One rollover takes 1.25 * 10 + 15 s.
    early = view(TWO, ready("a-1", age=3213), ready("b-1", age=3213), estimates=QUICK_TWO)
    assert [one.replaces for one in submits(decide(early))] == ["a-1"]
    alone = view(TWO, ready("a-1", age=3213), ready("b-1", age=100), estimates=QUICK_TWO)
    assert submits(decide(alone)) == []


def test_a_model_never_has_more_than_max_and_the_surge():
    pair = model(min=2, max=2)
    members = (ready("m-1", age=3580), ready("m-2", age=3580))
    assert len(submits(decide(view([pair], *members, estimates=QUICK)))) == 1
    three = (*members, pending("m-3"))
    assert submits(decide(view([pair], *three, estimates=QUICK))) == []


def test_without_surge_the_successor_waits_for_the_old_one_to_go():
    seen = view([model()], ready("m-1", age=3580), estimates=QUICK, policy=Policy(surge=0))
    assert submits(decide(seen)) == []


def test_an_instance_that_nobody_would_want_when_it_ends_gets_no_successor():
    old = ready("m-1", age=3300)
    idle = view([on_demand()], old, demand=(demand(used_s=400.0),), estimates=QUICK)
    assert decide(idle).actions == ()
    used = replace(idle, demand=(demand(used_s=200.0),))
    assert len(submits(decide(used))) == 1
    running = replace(idle, demand=(demand(running=1, used_s=0.0),))
    assert len(submits(decide(running))) == 1
