"""What becomes of a batch when its runner or its instance ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compute_functions.batch_keeper import ends
from compute_functions.batch_keeper.ends import Settled, settled
from compute_functions.batch_keeper.scene import Claim, Host, Standing
from compute_functions.batch_keeper.working import Run
from compute_functions.batch_spool.agent_state import DESK, AgentState
from tests.support.simulated_batches import KEY

NOW = 100_000.0
#: Runners have died for so long that it may be enough.
LONG_AGO = NOW - ends.CRASHES_FOR_S
GIVEN = AgentState(fence=1, epoch=3, instance="one", since=NOW - 30.0, recorded=10)


def claim(*, recorded: int = 10, **changes: object) -> Claim:
    return Claim(
        batch="b",
        key=KEY,
        share_of="ann",
        created_at=1.0,
        state=replace(GIVEN, **changes),  # type: ignore[arg-type]  # fields of the state
        recorded=recorded,
    )


def host(
    status: int | None = None,
    *,
    epoch: int = 3,
    standing: Standing = Standing.READY,
    leaving_s: float = 0.0,
) -> Host:
    run = Run(batch="b", epoch=epoch, pid=7, status=status)
    return Host(instance="one", key=KEY, standing=standing, runs={"b": run}, leaving_s=leaving_s)


def test_a_runner_that_runs_is_let_be() -> None:
    assert settled(claim(), host(), now=NOW).state == GIVEN


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        (None, "its instance ended"),
        (host(4, standing=Standing.LEAVING), "its instance ended"),
        (host(standing=Standing.LEAVING, leaving_s=ends.LEAVES_S + 1), "its instance ended"),
        (host(epoch=2, standing=Standing.LEAVING), "its instance ended"),
        (host(5), ""),
    ],
)
def test_it_may_go_on_elsewhere_at_once(instance: Host | None, reason: str) -> None:
    found = settled(claim(), instance, now=NOW)
    assert (found.state.instance, found.state.reason) == (None, reason)
    assert found.state.not_before <= NOW
    assert not found.failed


def test_lines_under_way_have_their_time_while_an_instance_drains() -> None:
    instance = host(standing=Standing.LEAVING, leaving_s=ends.LEAVES_S - 1)
    assert settled(claim(), instance, now=NOW).state.instance == "one"


@pytest.mark.parametrize("status", [6, -9, 1, 2, 70])
def test_a_setback_brings_a_pause_that_doubles(status: int) -> None:
    pauses = []
    for setbacks in (0, 1, 2, 30):
        found = settled(claim(setbacks=setbacks), host(status), now=NOW).state
        pauses.append(found.not_before - NOW)
        assert found.setbacks == setbacks + 1
    assert pauses == [5.0, 10.0, 20.0, ends.LONGEST_PAUSE_S]


def test_who_recorded_lines_begins_to_count_anew() -> None:
    found = settled(claim(recorded=11, setbacks=4, crashes=4), host(-9), now=NOW).state
    assert (found.setbacks, found.crashes, found.recorded) == (1, 1, 11)
    assert found.not_before == NOW + ends.PAUSE_S


DIED = "6 times in a row, in 30 minutes, without a line done: its runner died (status -11)"


def dying(
    status: int = -11, *, crashes: int = ends.MOST_CRASHES - 1, since: float = LONG_AGO, **more: Any
) -> Settled:
    """Return how a batch stands whose runner died once more."""
    wanted = claim(crashes=crashes, crashing_since=since, **more)
    return settled(wanted, host(status), now=NOW)


def test_runners_that_die_in_a_row_for_long_fail_the_batch_and_a_bad_disk_does_not() -> None:
    assert dying(recorded=0).failed == DIED
    assert not dying(recorded=0, crashes=ends.MOST_CRASHES - 2).failed
    assert not dying(recorded=0, since=LONG_AGO + 1).failed
    assert not dying(6, recorded=0, setbacks=99).failed


@pytest.mark.parametrize("since", [0.0, NOW + 1], ids=["a file of before", "a clock set back"])
def test_without_a_time_of_the_first_death_it_begins_now(since: float) -> None:
    found = dying(recorded=0, crashes=99, since=since)
    assert (found.failed, found.state.crashes, found.state.crashing_since) == ("", 100, NOW)


def test_tries_are_spread_over_half_an_hour_and_the_pauses_between_are_bounded() -> None:
    now, tries = NOW, []
    state = replace(GIVEN, recorded=0)
    while True:
        tries.append(now - NOW)
        died = replace(claim(recorded=0), state=replace(state, instance="one"))
        found = settled(died, host(-11), now=now)
        if found.failed:
            break
        assert found.state.crashing_since == NOW
        state, now = found.state, found.state.not_before
    assert tries == [0.0, 5.0, 15.0, 35.0, 75.0, 155.0, 315.0, 635.0, 1235.0, 1835.0]


def test_a_row_of_deaths_ends_where_the_batch_had_no_runner_for_long() -> None:
    waited = NOW - 30.0 - ends.CRASHES_FOR_S
    assert dying(recorded=0, not_before=waited).failed == DIED
    found = dying(recorded=0, not_before=waited - 1)
    assert (found.failed, found.state.crashes, found.state.crashing_since) == ("", 1, NOW)


def test_what_is_recorded_of_a_batch_that_is_given_up_is_written_out() -> None:
    found = dying(setbacks=9)
    assert not found.failed
    assert found.state == replace(
        GIVEN,
        instance=None,
        since=NOW,
        setbacks=9,
        given_up=DIED,
    )
    # If that cannot be done either, it has failed.
    assert not dying(given_up=DIED, since=LONG_AGO + 1).failed
    assert dying(given_up=DIED).failed == DIED


def test_a_runner_that_left_goes_on_at_once_only_if_its_engine_answered() -> None:
    assert settled(claim(recorded=11), host(4), now=NOW).state.not_before == 0.0
    assert settled(claim(), host(4), now=NOW).state.not_before > NOW


def test_an_outcome_is_waited_for_and_then_asked_for_again() -> None:
    first = settled(claim(), host(0), now=NOW).state
    assert (first.instance, first.over_at) == ("one", NOW)
    later = settled(claim(over_at=NOW), host(0), now=NOW + ends.SEEN_S + 1).state
    assert (later.instance, later.reason) == (None, "its outcome was not found")


def test_an_instance_that_does_not_begin_loses_the_batch() -> None:
    instance = host(epoch=2)
    assert settled(claim(), instance, now=NOW).state.instance == "one"
    late = settled(claim(), instance, now=GIVEN.since + ends.BEGINS_S + 1).state
    assert (late.instance, late.reason) == (None, "its instance did not begin it")
    # The clock was set back by an hour.
    assert settled(claim(), instance, now=NOW - 3_600).state.instance is None


def test_an_engine_that_refuses_everything_is_tried_for_half_an_hour_and_then_told() -> None:
    refusal = "the engine at here refuses every line: status 500, CUDA is gone"
    one = replace(claim(recorded=0, crashes=5, crashing_since=LONG_AGO + 1), refusal=refusal)
    found = settled(one, host(4), now=NOW)
    assert (found.state.instance, found.state.reason) == (None, refusal)
    assert (found.state.crashes, found.failed) == (6, "")
    assert settled(one, host(4), now=NOW + 1).failed == (
        f"6 times in a row, in 30 minutes, without a line done: {refusal}"
    )


def test_one_that_did_lines_before_is_tried_anew_after_a_pause() -> None:
    one = replace(claim(recorded=11, crashes=5, crashing_since=LONG_AGO), refusal="no")
    found = settled(one, host(4), now=NOW)
    assert (found.state.crashes, found.state.not_before, found.failed) == (1, NOW + 5.0, "")
    assert found.state.crashing_since == NOW


def at_desk(*, is_over: bool = False, unexamined: bool = False, **changes: object) -> Claim:
    one = replace(claim(recorded=0, **changes), ends=is_over, unexamined=unexamined)
    return replace(one, state=replace(one.state, instance=DESK, recorded=0))


def desk(status: int | None = None, *, epoch: int = 3) -> Host:
    return replace(host(status, epoch=epoch), instance=DESK, key=None)


def test_one_whose_input_is_good_waits_for_its_instance_without_a_setback() -> None:
    one = at_desk(setbacks=2, crashes=2, crashing_since=LONG_AGO)
    found = settled(one, desk(4), now=NOW).state
    assert (found.instance, found.reason, found.not_before) == (None, "", 0.0)
    # What its runners died of before is over.
    assert (found.setbacks, found.crashes, found.crashing_since) == (0, 0, 0.0)


@pytest.mark.parametrize("is_over", [False, True])
def test_one_whose_runner_left_before_its_input_was_read_goes_there_again_after_a_pause(
    is_over: bool,
) -> None:
    found = settled(at_desk(is_over=is_over, unexamined=True), desk(4), now=NOW).state
    assert (found.instance, found.not_before) == (None, NOW + ends.PAUSE_S)
    assert found.reason == "its runner was told to leave"


def test_one_that_was_cancelled_as_its_runner_left_goes_there_again_at_once() -> None:
    found = settled(at_desk(is_over=True), desk(4), now=NOW).state
    assert (found.instance, found.reason, found.not_before) == (None, "", 0.0)
    # Whatever makes that happen again and again is told, and costs no process a second.
    again = settled(at_desk(is_over=True, setbacks=found.setbacks), desk(4), now=NOW).state
    assert again.reason == "its runner left before its results were written"
    assert again.not_before > NOW + ends.PAUSE_S


@pytest.mark.parametrize("status", [-9, 1, 70])
def test_an_input_of_which_runners_die_is_left_to_an_instance(status: int) -> None:
    first = settled(at_desk(unexamined=True), desk(status), now=NOW).state
    assert (first.crashes, first.not_before) == (1, NOW + ends.PAUSE_S)
    assert not first.left_to_engine
    tried = at_desk(unexamined=True, crashes=ends.MOST_DEATHS - 1, crashing_since=NOW - 60.0)
    assert settled(tried, desk(status), now=NOW).state.left_to_engine
    ends_so = replace(tried, unexamined=False, ends=True)
    assert not settled(ends_so, desk(status), now=NOW).state.left_to_engine


def test_a_disk_that_fails_while_an_input_is_looked_through_gives_nothing_up() -> None:
    found = settled(at_desk(unexamined=True, setbacks=99), desk(6), now=NOW)
    assert (found.failed, found.state.crashes) == ("", 0)
    assert found.state.reason == "the cluster's disk fails; tried again later"


def test_an_outcome_of_one_at_the_desk_is_waited_for() -> None:
    for status in (0, 3):
        found = settled(at_desk(unexamined=True), desk(status), now=NOW).state
        assert (found.instance, found.over_at) == (DESK, NOW)


def test_what_an_agent_that_ended_had_begun_is_begun_again_without_a_pause() -> None:
    one = at_desk(unexamined=True, since=NOW - ends.BEGINS_S - 1)
    for there in (desk(epoch=2), replace(desk(), runs={})):
        found = settled(one, there, now=NOW).state
        assert (found.instance, found.not_before, found.setbacks) == (None, 0.0, 0)
    # Its own runner is about to begin.
    soon = at_desk(unexamined=True, since=NOW - 1)
    assert settled(soon, replace(desk(), runs={}), now=NOW).state == soon.state
