"""How many instances there are: desired, asked for, lately used, unloaded, scaled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.contract.instances import InstanceState
from compute_functions.drivers import Capacity
from compute_functions.reconciler import Draining, Memory, Policy, Registered, decide
from tests.support.site_views import (
    KEY,
    NOW,
    again,
    cancelled,
    capacity,
    demand,
    drained,
    later,
    model,
    on_demand,
    outlook,
    pending,
    ready,
    running,
    starting,
    submits,
    view,
)

#: What the gateway makes of a model that operators take out of service.
DISABLED = model(min=0, max=0)


def test_without_a_desired_state_nothing_is_done():
    decision = decide(view([], ready("m-1", said={"silent_s": 99.0}), desired=None))
    assert decision.actions == ()
    assert decision.trouble


def test_as_many_as_min_says_are_submitted():
    (first, second) = submits(decide(view([model(min=2, max=3, gpus=4, walltime_s=1800.0)])))
    assert first == second
    assert (first.gpus, first.walltime_s, first.key) == (4, 1800.0, KEY)
    assert first.reason


@pytest.mark.row("L-18", "L-29", "C-8")
def test_nobody_wants_an_on_demand_model_until_somebody_asks():
    assert decide(view([on_demand()])).actions == ()
    asked = view([on_demand()], demand=(demand(waiting=1),))
    assert len(submits(decide(asked))) == 1
    assert submits(decide(replace(asked, members=(pending("m-1"),)))) == []


@pytest.mark.row("L-24")
def test_an_instance_on_demand_stays_until_it_was_idle_for_long():
    seen = view([on_demand()], ready("m-1", age=2000), demand=(demand(used_s=599.0),))
    assert decide(seen).actions == ()
    idle = replace(seen, demand=(demand(used_s=601.0),))
    assert drained(decide(idle)) == ["m-1"]
    busy = replace(seen, demand=(demand(running=1, used_s=601.0),))
    assert decide(busy).actions == ()
    unheard_of = replace(idle, members=(ready("m-1", age=2000, said={"in_flight": 1}),))
    assert decide(unheard_of).actions == ()


def test_who_asked_may_come_back_while_it_loads():
    for member in (pending("m-1"), starting("m-1", age=100)):
        assert decide(view([on_demand()], member)).actions == ()
    asked = decide(view([on_demand()], starting("m-1"), demand=(demand(waiting=1),)))
    gone = later(view([on_demand()], starting("m-1", age=1000)), 599, asked.memory)
    assert decide(gone).actions == ()
    assert cancelled(decide(replace(gone, now=NOW + 601))) == ["m-1"]


def test_a_job_in_the_queue_that_nobody_wants_is_cancelled():
    seen = view([on_demand()], pending("m-1", submitted_at=NOW - 301))
    assert cancelled(decide(seen)) == ["m-1"]


def test_the_drain_lasts_as_long_as_the_walltime_and_the_policy_let_it():
    policy = Policy(drain_s=100.0)
    seen = view([DISABLED], ready("m-1"), ready("m-2", age=3550), policy=policy)
    ends = {one.instance: one.until for one in decide(seen).actions}
    assert ends == {"m-1": NOW + 100.0, "m-2": NOW + 50.0}


def test_what_drains_is_told_once_and_cancelled_when_it_has_drained():
    told = Draining(since=NOW - 10, until=NOW + 100)
    draining = Registered(state=InstanceState.DRAINING, in_flight=1)
    busy = running("m-1", registered=draining, draining=told)
    assert decide(view([], busy)).actions == ()
    long_ago = replace(busy, draining=Draining(since=NOW - 50, until=NOW + 100))
    assert decide(view([], long_ago)).actions == ()
    done = replace(long_ago, registered=replace(draining, in_flight=0))
    assert cancelled(decide(view([], done))) == ["m-1"]
    unknown = replace(long_ago, registered=replace(draining, in_flight=None))
    assert decide(view([], unknown)).actions == ()
    over = replace(busy, draining=Draining(since=NOW - 90, until=NOW - 20))
    assert cancelled(decide(view([], over))) == ["m-1"]


def test_a_model_that_is_disabled_is_drained():
    decision = decide(view([DISABLED], ready("m-1"), pending("m-2"), starting("m-3")))
    assert drained(decision) == ["m-1"]
    assert cancelled(decision) == ["m-2", "m-3"]


def test_a_lower_max_lets_the_youngest_unready_go_first():
    members = (ready("m-1"), ready("m-2", age=2000), starting("m-3", age=30), starting("m-4"))
    assert cancelled(decide(view([model(max=3, min=3)], *members))) == ["m-3"]
    two = decide(view([model(max=2, min=2)], *members))
    assert (cancelled(two), drained(two)) == (["m-3", "m-4"], [])
    one = decide(view([model()], *members))
    assert (cancelled(one), drained(one)) == (["m-3", "m-4"], ["m-2"])


def test_an_unloaded_instance_goes_and_the_demand_before_does_not_count():
    unloaded = on_demand(unloaded_at=NOW - 5)
    seen = view([unloaded], ready("m-1"), demand=(demand(running=1, used_s=0.0),))
    decision = decide(seen)
    assert drained(decision) == ["m-1"]
    assert submits(decision) == []
    gone = later(replace(seen, members=(), demand=(demand(used_s=4.0),)), 2, decision.memory)
    assert submits(decide(gone)) == []
    asked = replace(gone, demand=(demand(waiting=1),))
    assert len(submits(decide(asked))) == 1


def test_an_unloaded_hot_model_is_loaded_anew():
    decision = decide(view([model(unloaded_at=NOW - 5)], ready("m-1"), policy=Policy()))
    assert drained(decision) == ["m-1"]
    assert len(submits(decision)) == 1


@pytest.mark.parametrize(
    ("desired", "policy", "word"),
    [
        (model(gpus=5), Policy(instance_gpus=4), "4"),
        (model(gpus=5), Policy(gpus=4), "4"),
        (model(walltime_s=7200.0), Policy(walltime_s=3600.0), "3600"),
        (model(min=3, max=3), Policy(jobs=2), "2"),
        (model(gpus=9), Policy(), "8"),
    ],
)
def test_a_model_beyond_the_policy_is_refused_and_what_runs_of_it_goes_on(desired, policy, word):
    seen = view([desired, model("o")], policy=policy, capacity=capacity(8, 8))
    decision = decide(seen)
    assert [one.key.model for one in submits(decision)] == ["o"]
    assert word in outlook(decision).refused
    assert outlook(decision, "o").refused == ""
    running_on = decide(replace(seen, members=(ready("m-1", age=3500), ready("o-1"))))
    assert running_on.actions == ()


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (Capacity(gpus=0, free_gpus=0), "the scheduler shows no nodes in the site's partition"),
        (
            Capacity(gpus=0, free_gpus=0, nodes=("a",), down=frozenset({"a"})),
            "it asks for 1 GPUs, and the nodes that are up in the site's partition have 0",
        ),
    ],
)
def test_where_there_are_no_gpus_it_is_said_where_to_look(there: Capacity, words: str):
    assert outlook(decide(view([model()], capacity=there))).refused == words


def test_a_model_that_the_site_does_not_know_is_refused_in_its_words():
    decision = decide(view([model()], refused={KEY: "no file m.yaml"}))
    assert decision.actions == ()
    assert outlook(decision).refused == "no file m.yaml"


SCALED = model(min=1, max=3, autoscale=True)


@pytest.mark.row("L-25", "C-56")
def test_requests_that_wait_for_long_bring_another_instance():
    seen = view([SCALED], ready("m-1", said={"in_flight": 4}), demand=(demand(waiting=3),))
    first = decide(seen)
    assert first.actions == ()
    assert submits(decide(later(seen, 9, first.memory))) == []
    assert len(submits(decide(later(seen, 10, first.memory)))) == 1
    fixed = replace(seen, desired=view([model(max=3)]).desired)
    assert submits(decide(later(fixed, 99, first.memory))) == []


def test_requests_that_wait_in_the_engine_count_and_one_that_loads_is_awaited():
    loaded = ready("m-1", said={"in_flight": 9, "engine_waiting": 5})
    seen = view([SCALED], loaded)
    assert len(submits(again(seen, seconds=5))) == 1
    assert submits(again(view([SCALED], loaded, starting("m-2")), seconds=5)) == []


def test_nothing_is_added_while_one_loads_however_many_requests_wait():
    members = (ready("m-1", said={"in_flight": 1}), ready("m-2", said={"in_flight": 1}))
    seen = view(
        [model(max=9, autoscale=True)], *members, starting("m-3"), demand=(demand(waiting=50),)
    )
    assert submits(again(seen, seconds=20)) == []
    assert len(submits(again(replace(seen, members=members), seconds=5))) == 2


def test_it_never_scales_above_max():
    members = [ready(f"m-{n}", said={"in_flight": 9}) for n in range(3)]
    seen = view([SCALED], *members, demand=(demand(waiting=50),))
    assert submits(again(seen, seconds=20)) == []


def test_it_scales_down_by_one_when_there_was_one_too_many_for_long():
    members = [ready(f"m-{n}", age=2000 + n) for n in range(3)]
    seen = view([SCALED], *members, demand=(demand(running=2),))
    first = decide(seen)
    assert first.actions == ()
    assert decide(later(seen, 599, first.memory)).actions == ()
    assert drained(decide(later(seen, 600, first.memory))) == ["m-2"]


def test_it_scales_down_to_min_when_all_is_quiet():
    members = [ready(f"m-{n}", age=2000 + n) for n in range(3)]
    seen = view([SCALED], *members)
    first = decide(seen)
    assert drained(decide(later(seen, 600, first.memory))) == ["m-1", "m-2"]


def test_an_agent_with_an_empty_memory_keeps_what_was_scaled():
    members = [ready(f"m-{n}", age=2000) for n in range(3)]
    seen = view([SCALED], *members, demand=(demand(running=9),))
    assert decide(seen).actions == ()
    assert seen.memory == Memory()
