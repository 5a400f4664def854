"""A model that cannot start is tried again, less and less often, and says so."""

from __future__ import annotations

from dataclasses import replace

from compute_functions.contract.instances import InstanceState
from compute_functions.reconciler import Memory, Policy, Registered, View, decide
from tests.support.site_views import KEY, NOW, model, outlook, ready, starting, submits, view


def failed_times(count: int, **policy) -> View:
    """Return an empty site whose model has just failed to start so often."""
    memory = Memory()
    seen = view([model(), model("other")], policy=Policy(**policy))
    for number in range(count):
        memory = memory.submitted(KEY, f"m-{number}")
        memory = decide(replace(seen, memory=memory)).memory
    return replace(seen, memory=memory)


def test_the_first_failure_is_made_good_at_once():
    assert KEY in {one.key for one in submits(decide(failed_times(1)))}


def test_the_pause_grows_with_every_failure_and_starves_nobody_else():
    for count, pause_s in ((2, 10.0), (3, 20.0), (4, 40.0), (20, 900.0)):
        seen = failed_times(count)
        early = decide(replace(seen, now=NOW + pause_s - 1))
        assert [one.key.model for one in submits(early)] == ["other"]
        assert f"{count} starts in a row failed" in outlook(early).waits
        due = decide(replace(seen, now=NOW + pause_s))
        assert {one.key.model for one in submits(due)} == {"m", "other"}
        assert outlook(due).waits == ""


def test_a_failure_is_counted_once_however_long_its_job_lingers():
    failed = starting("m-1", registered=Registered(state=InstanceState.FAILED))
    seen = view([model()], failed)
    memory = Memory()
    for _ in range(5):
        memory = decide(replace(seen, memory=memory)).memory
    assert memory.of(KEY).failures == 1
    assert decide(replace(seen, members=(), memory=memory)).memory.of(KEY).failures == 1


def test_a_job_that_the_scheduler_refused_counts():
    memory = Memory().refused(KEY, NOW).refused(KEY, NOW)
    decision = decide(view([model()], memory=memory))
    assert submits(decision) == []
    assert outlook(decision).waits


def test_an_instance_that_dies_soon_after_it_was_ready_has_failed_to_start():
    seen = view([model()], ready("m-1", age=40))
    memory = decide(seen).memory
    assert decide(replace(seen, members=(), memory=memory)).memory.of(KEY).failures == 1


def test_one_that_served_for_a_while_has_not():
    seen = view([model()], ready("m-1", age=600))
    memory = decide(seen).memory
    assert decide(replace(seen, members=(), memory=memory)).memory.of(KEY).failures == 0


def test_a_dead_node_does_not_tell_against_the_model():
    seen = view([model()], ready("m-1", age=40, said={"silent_s": 6.0}))
    memory = decide(seen).memory
    assert decide(replace(seen, members=(), memory=memory)).memory.of(KEY).failures == 0


def test_one_that_was_let_go_has_not_failed():
    seen = view([model(min=0, max=0)], starting("m-1"))
    memory = decide(seen).memory
    assert decide(view([model()], memory=memory)).memory.of(KEY).failures == 0


def test_a_start_that_succeeds_and_lasts_clears_the_count():
    known = Memory().refused(KEY, NOW - 300).refused(KEY, NOW - 300)
    seen = view([model()], ready("m-1", age=100), memory=known)
    assert decide(seen).memory.of(KEY).failures == 0
    young = view([model()], ready("m-1", age=70), memory=known)
    assert decide(young).memory.of(KEY).failures == 2
    older = view([model()], ready("m-1", age=2000), memory=known)
    assert decide(older).memory.of(KEY).failures == 2
