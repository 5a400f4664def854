"""A model that is desired no more: what runs of it is not stopped, and nothing is ordered anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.contract.lifecycle import DesiredModel
from compute_functions.reconciler import Draining, Memory, ModelKey, Policy, decide
from tests.support.simulated_site import SimulatedNode, SimulatedSite
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
from tests.support.watched_site import WatchedSite

pytestmark = pytest.mark.row("L-32")


def test_what_runs_is_let_be_and_what_waits_in_the_queue_goes():
    decision = decide(view([], ready("m-1"), pending("m-2"), starting("m-3"), running("m-4")))
    assert drained(decision) == []
    assert cancelled(decision) == ["m-2"]
    assert (submits(decision), decision.outlooks) == ([], ())


def test_it_goes_when_nobody_has_used_it_for_the_grace_since_it_was_removed():
    # It was idle for hours before: that does not count.
    hot = replace(view([model()], ready("m-1")), now=NOW - 3600)
    idle = decide(hot).memory
    removed = view([], ready("m-1"), memory=idle)
    first = decide(removed)
    assert first.actions == ()
    assert decide(later(removed, 299, first.memory)).actions == ()
    assert drained(decide(later(removed, 300, first.memory))) == ["m-1"]


def test_as_long_as_it_is_used_it_runs_to_the_end_of_its_walltime():
    removed = view([], ready("m-1", said={"in_flight": 1}))
    memory = decide(removed).memory
    assert decide(later(removed, 2900, memory)).actions == ()
    # Of several instances all stay while one is in use.
    both = view([], ready("m-1", said={"in_flight": 1}), ready("m-2"), memory=memory)
    assert decide(later(both, 2000, memory)).actions == ()


def test_it_is_idle_from_its_last_request_on():
    used = view([], ready("m-1", said={"in_flight": 1}))
    memory = decide(later(used, 1000, decide(used).memory)).memory
    idle = view([], ready("m-1"), memory=memory)
    left = decide(later(idle, 1001, memory))
    assert left.actions == ()
    assert decide(later(idle, 1300, left.memory)).actions == ()
    assert drained(decide(later(idle, 1301, left.memory))) == ["m-1"]


def test_requests_that_nobody_can_count_keep_it_no_longer():
    unknown = view([], ready("m-1", said={"in_flight": None}))
    memory = decide(unknown).memory
    assert drained(decide(later(unknown, 300, memory))) == ["m-1"]


def test_one_that_loads_may_become_ready_and_its_grace_begins_then():
    loading = view([], starting("m-1", age=500))
    memory = decide(loading).memory
    assert decide(later(loading, 900, memory)).actions == ()
    loaded = later(view([], ready("m-1", age=500)), 900, memory)
    memory = decide(loaded).memory
    assert decide(later(loaded, 299, memory)).actions == ()
    assert drained(decide(later(loaded, 300, memory))) == ["m-1"]


def test_it_gets_no_successor():
    seen = view([], ready("m-1", age=3500, said={"in_flight": 1}))
    assert decide(seen).actions == ()


def test_it_yields_to_a_model_that_is_wanted_before_others_do():
    seen = view(
        [on_demand("a", idle_timeout_s=9e4), on_demand("c")],
        ready("a-1"),
        ready("m-1"),
        pending("c-1"),
        capacity=capacity(2, 0),
        demand=(demand("a", used_s=99.0), demand("c", waiting=1)),
    )
    decision = again(seen)
    assert drained(decision) == ["m-1"]
    (a, _, waiting) = seen.members
    busy = replace(seen, members=(a, ready("m-1", said={"in_flight": 1}), waiting))
    assert drained(again(busy)) == ["a-1"]


def test_its_drain_is_no_rollover_that_others_would_wait_for():
    told = Draining(since=NOW - 10, until=NOW + 100)
    seen = view(
        [model("o")],
        ready("m-1", said={"in_flight": 1}),
        ready("m-2", draining=told, said={"in_flight": 1}),
        ready("o-1", age=3300),
    )
    assert [one.key.model for one in submits(decide(seen))] == ["o"]


def test_one_that_is_desired_again_is_taken_back():
    removed = decide(view([], ready("m-1"))).memory
    assert removed.of(KEY).undesired_since == NOW
    desired = later(view([model()], ready("m-1")), 100, removed)
    decision = decide(desired)
    assert decision.actions == ()
    assert outlook(decision).refused == ""
    assert decision.memory.of(KEY).undesired_since is None


def test_its_memory_goes_with_its_last_instance():
    memory = decide(view([], ready("m-1"))).memory
    assert KEY not in decide(view([], memory=memory)).memory.models


def test_a_broken_one_is_cancelled_and_not_replaced():
    decision = decide(view([], ready("m-1", said={"silent_s": 9.0})))
    assert (cancelled(decision), submits(decision)) == (["m-1"], [])


@pytest.mark.parametrize("agent_dies", [False, True])
def test_a_removed_model_serves_its_last_requests_and_leaves_its_gpus(agent_dies: bool):
    removed = DesiredModel(
        model="m",
        framework="vllm",
        min=2,
        max=2,
        gpus=1,
        walltime_s=7200.0,
        walltime_ratio=0.9,
        idle_timeout_s=600.0,
    )
    key = ModelKey("m", "vllm")
    site = SimulatedSite(
        policy=Policy(),
        nodes={"n0": SimulatedNode(name="n0", gpus=2)},
        load_s={"m": 20.0},
        desired={key: removed},
    )
    watched = WatchedSite(site=site)
    watched.run(60)
    before = set(site.jobs)
    assert len(site.serving(key)) == 2
    site.serving(key)[0].busy_until.append(site.now + 1000)
    site.desired.clear()
    for _ in range(20):
        watched.run(50)
        if agent_dies:
            site.memory = Memory()
        assert {job.instance for job in site.serving(key)} == before
    watched.run(320)
    assert not site.jobs
    assert site.submitted == 2
