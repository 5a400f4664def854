"""Running is not healthy: who is suspect, who is replaced, and where its replacement may not go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.contract.instances import InstanceState
from compute_functions.drivers.driver import Capacity, JobState
from compute_functions.reconciler import Cancel, Draining, Policy, Registered, decide
from tests.support.site_views import (
    KEY,
    NOW,
    cancelled,
    drained,
    later,
    model,
    pending,
    ready,
    running,
    starting,
    submits,
    view,
)


def test_an_instance_that_answers_is_left_alone():
    assert decide(view([model()], ready("m-1"))).actions == ()


def test_one_missed_heartbeat_makes_the_node_suspect_and_nothing_more():
    decision = decide(view([model()], ready("m-1", said={"silent_s": 4.0})))
    assert decision.actions == ()
    assert decision.memory.suspects == {"node-m-1": NOW + 120.0}


def test_two_missed_heartbeats_have_it_replaced_on_another_node():
    decision = decide(view([model()], ready("m-1", said={"silent_s": 6.0})))
    assert cancelled(decision) == ["m-1"]
    (submit,) = submits(decision)
    assert submit.exclude == ("node-m-1",)
    assert submit.key == KEY


def test_failed_probes_count_like_missed_heartbeats():
    assert decide(view([model()], ready("m-1", said={"failed_probes": 1}))).actions == ()
    decision = decide(view([model()], ready("m-1", said={"failed_probes": 2})))
    assert cancelled(decision) == ["m-1"]


def test_the_node_is_avoided_for_two_minutes():
    seen = view([model()], ready("m-1", said={"silent_s": 6.0}))
    memory = decide(seen).memory
    empty = replace(seen, members=())
    assert submits(decide(later(empty, 119, memory)))[0].exclude == ("node-m-1",)
    assert submits(decide(later(empty, 121, memory)))[0].exclude == ()


def test_suspect_nodes_are_a_chance_when_there_are_no_others():
    seen = view(
        [model()],
        ready("m-1", said={"silent_s": 6.0}),
        capacity=Capacity(gpus=4, free_gpus=3, nodes=("node-m-1", "x"), down=frozenset({"x"})),
    )
    assert submits(decide(seen))[0].exclude == ()


def test_a_job_in_the_queue_stays_when_nodes_become_suspect():
    memory = decide(view([model()], ready("m-1", said={"silent_s": 6.0}))).memory
    assert decide(view([model()], pending("m-2"), memory=memory)).actions == ()


def test_when_all_are_silent_together_it_is_rather_the_disk():
    seen = view(
        [model(min=2, max=2)],
        ready("m-1", said={"silent_s": 20.0}),
        ready("m-2", said={"silent_s": 20.0}),
    )
    decision = decide(seen)
    assert decision.actions == ()
    assert decision.memory.suspects == {}
    assert "heartbeat" in decision.trouble
    silent = view(
        [model(min=2, max=2)],
        ready("m-1", said={"silent_s": 31.0}),
        ready("m-2", said={"silent_s": 31.0}),
    )
    assert cancelled(decide(silent)) == ["m-1", "m-2"]


def test_a_silent_one_among_others_that_answer_is_replaced_at_once():
    seen = view([model(min=2, max=2)], ready("m-1", said={"silent_s": 6.0}), ready("m-2"))
    assert cancelled(decide(seen)) == ["m-1"]


def test_a_doubtful_successor_relieves_nobody():
    old = ready("m-1", age=3500)
    assert drained(decide(view([model()], old, ready("m-2")))) == ["m-1"]
    doubtful = ready("m-2", said={"silent_s": 4.0})
    assert drained(decide(view([model()], old, doubtful))) == []


def test_what_has_failed_is_replaced():
    failed = starting("m-1", registered=Registered(state=InstanceState.FAILED))
    decision = decide(view([model()], failed))
    assert cancelled(decision) == ["m-1"]
    assert len(submits(decision)) == 1


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ("", "it failed"),
        ("the engine ended with 1\nsee  its log", "it failed: the engine ended with 1 see its log"),
        ("x" * 1000, "it failed: " + "x" * 300),
    ],
)
def test_why_it_failed_is_said_in_one_line(detail: str, reason: str):
    failed = starting("m-1", registered=Registered(state=InstanceState.FAILED, detail=detail))
    (found,) = [one for one in decide(view([model()], failed)).actions if isinstance(one, Cancel)]
    assert found.reason == reason


def test_one_that_drains_and_falls_silent_is_cancelled():
    silent = ready("m-1", said={"silent_s": 9.0}, draining=Draining(since=NOW - 5, until=NOW + 100))
    assert cancelled(decide(view([], silent))) == ["m-1"]


def test_a_job_that_ends_is_replaced_and_let_be():
    decision = decide(view([model()], ready("m-1", state=JobState.ENDING)))
    assert cancelled(decision) == []
    assert len(submits(decision)) == 1


@pytest.mark.parametrize(("age", "late"), [(100.0, False), (121.0, True)])
def test_a_job_that_runs_must_register(age, late):
    seen = view([model()], running("m-1", age=age))
    assert decide(seen).actions == ()  # It may only be unreadable for a moment.
    decision = decide(later(seen, 7, decide(seen).memory))
    assert cancelled(decision) == (["m-1"] if late else [])
    assert [one.exclude for one in submits(decision)] == ([("node-m-1",)] if late else [])


def test_it_must_be_ready_in_time_and_its_node_is_not_to_blame():
    policy = Policy(start_s=1000.0, starts_s={"m": 300.0})
    assert decide(view([model()], starting("m-1", age=299), policy=policy)).actions == ()
    decision = decide(view([model()], starting("m-1", age=301), policy=policy))
    assert cancelled(decision) == ["m-1"]
    assert submits(decision)[0].exclude == ()
    other = decide(view([model("o")], starting("o-1", age=301), policy=policy))
    assert other.actions == ()
