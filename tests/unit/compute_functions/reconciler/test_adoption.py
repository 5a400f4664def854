"""What an agent finds of others' work: older agents, newer ones, lost orders, foreign jobs."""

from __future__ import annotations

from dataclasses import replace

from compute_functions.drivers.driver import JobState
from compute_functions.reconciler import Draining, Policy, decide
from tests.support.site_views import (
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


def test_jobs_of_an_older_agent_and_of_another_generation_are_ours():
    old = ready("m-1", fence=1, generation=7)
    assert decide(view([model()], old, fence=3)).actions == ()


def test_a_job_of_a_newer_agent_stops_this_one():
    seen = view([model(min=2, max=2)], ready("m-1", fence=4), ready("x-1"), fence=3)
    decision = decide(seen)
    assert decision.actions == ()
    assert "4" in decision.trouble
    assert decision.memory == seen.memory


def test_an_instance_whose_order_is_lost_is_known_by_its_comment():
    lost = ready("m-1", framework="", gpus=None, walltime_s=None)
    assert decide(view([model(gpus=2)], lost)).actions == ()
    assert drained(decide(view([model(min=0, max=0)], lost))) == ["m-1"]
    again = view([model(gpus=2), model("o", gpus=2)], lost, policy=Policy(gpus=3))
    assert submits(decide(again)) == []  # It holds the GPUs that its model takes.


def test_an_order_without_a_clear_answer_counts_as_a_job():
    unsure = pending("m-1", job_id="")
    assert decide(view([model()], unsure)).actions == ()
    (cancel,) = decide(view([], unsure)).actions
    assert (cancel.instance, cancel.job_id) == ("m-1", "")


def test_an_instance_whose_registration_cannot_be_read_is_not_cut_short():
    unreadable = running("m-1", age=2000)
    decision = decide(view([model()], unreadable, starting("m-2")))
    assert "m-1" not in cancelled(decision)
    told = decide(view([model(min=0, max=0)], unreadable))
    assert (drained(told), cancelled(told)) == (["m-1"], [])


def test_one_that_was_told_to_drain_and_never_registered_is_cancelled():
    told = running("m-1", draining=Draining(since=NOW - 16, until=NOW + 60))
    assert cancelled(decide(view([], told))) == ["m-1"]


def test_a_job_whose_walltime_is_over_and_that_is_still_there_is_cancelled():
    over = ready("m-1", age=3605)
    found = decide(view([model()], over))
    assert (cancelled(found), len(submits(found))) == ([], 1)
    assert cancelled(decide(later(view([model()], over), 20, found.memory))) == ["m-1"]


def test_a_job_that_already_ends_is_not_cancelled_again():
    ending = ready("m-1", age=9999, state=JobState.ENDING, ends_at=None)
    assert cancelled(decide(view([], ending))) == []


def test_a_successor_that_is_nearly_over_itself_does_not_count():
    members = (ready("m-1", age=3500), starting("m-2", ends_at=NOW + 50))
    assert len(submits(decide(view([model(max=2)], *members)))) == 1


def test_the_same_view_gives_the_same_decision():
    seen = view([model(min=2, max=2)], ready("m-1", age=3500), pending("x-1"))
    assert decide(seen) == decide(replace(seen))
    assert decide(replace(seen, members=seen.members[::-1])) == decide(seen)
