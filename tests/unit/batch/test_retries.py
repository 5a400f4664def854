"""Which outcome is recorded, which is tried again, and what an engine's trouble costs a line."""

from __future__ import annotations

import pytest

from batch import errors, retries
from batch.journal.record import Problem
from batch.retries import Happened, Record, Retry, Stop, Trouble
from batch.transports.transport import Reply


def reply(status: int, retry_after_s: float | None = None) -> Reply:
    return Reply(status=status, body=b"{}", request_id="r", retry_after_s=retry_after_s)


def decision(  # noqa: PLR0913 - what the decision is made of
    event: Reply | errors.CallFailed,
    *,
    tries: int = 0,
    losses: int = 0,
    single: bool = False,
    alive: bool = True,
    vouched: bool = True,
    serves: bool = True,
    alone: bool = False,
    sound: bool = True,
) -> retries.Decision:
    happened = Happened(
        event=event,
        tries=tries,
        losses=losses,
        single=single,
        alive=alive,
        vouched=vouched,
        serves=serves,
        alone=alone,
        chance=1.0,
    )
    return retries.decide(happened, sound=sound)


def test_a_sound_answer_is_recorded():
    assert decision(reply(200)) == Record()


@pytest.mark.parametrize("status", [301, 400, 403, 404, 405, 413, 422])
def test_what_no_retry_helps_is_recorded_at_once(status: int):
    found = decision(reply(status))
    assert isinstance(found, Record)
    assert found.problem is not None
    assert found.problem.code == f"http_{status}"


@pytest.mark.parametrize("status", [401, 408, 409, 425, 429, 500, 502, 503, 504, 599])
def test_what_a_retry_may_help_is_tried_again_five_times(status: int):
    waits = []
    for tries in range(5):
        found = decision(reply(status), tries=tries)
        assert isinstance(found, Retry)
        assert found.tries == tries + 1
        waits.append(found.after_s)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert isinstance(decision(reply(status), tries=5), Record)


LATE, BROKEN = errors.TimedOut("late"), errors.BrokenOff("cut")


def test_a_request_that_takes_too_long_counts_against_its_line_if_others_vouch():
    found = decision(LATE, alive=False)
    assert isinstance(found, Retry)
    assert (found.tries, found.losses, found.trouble) == (1, 0, Trouble.SLOW)
    last = decision(LATE, tries=5)
    late = Problem(code="timed_out", message="late")
    assert last == Record(problem=late, trouble=Trouble.SLOW)


def test_an_engine_that_lets_everybody_wait_costs_a_line_nothing():
    found = decision(LATE, tries=5, vouched=False)
    assert isinstance(found, Retry)
    assert (found.tries, found.trouble) == (5, Trouble.MUTE)
    found = decision(LATE, tries=4, vouched=False, alone=True)
    assert isinstance(found, Retry)
    assert (found.tries, found.trouble) == (5, Trouble.DOUBTED)


@pytest.mark.parametrize(("losses", "then"), [(0, 1), (1, 2), (2, 2), (3, 3)])
@pytest.mark.parametrize("vouched", [True, False])
def test_an_engine_that_is_lost_with_many_lines_makes_them_suspects_at_most(
    losses: int, then: int, vouched: bool
):
    found = decision(BROKEN, tries=5, losses=losses, vouched=vouched, serves=vouched, alone=True)
    trouble = Trouble.LOST if vouched else Trouble.MUTE
    assert found == Retry(after_s=0.0, tries=5, losses=then, trouble=trouble)


@pytest.mark.parametrize(
    ("grounds", "trouble"),
    [
        ({"serves": True}, Trouble.LOST),
        ({"serves": False, "alone": True}, Trouble.DOUBTED),
    ],
)
def test_an_engine_that_is_lost_to_one_line_twice_is_that_lines_fault(
    grounds: dict[str, bool], trouble: Trouble
):
    found = decision(BROKEN, losses=2, single=True, vouched=False, **grounds)
    assert isinstance(found, Retry)
    assert (found.tries, found.losses, found.trouble) == (0, 3, trouble)
    last = decision(BROKEN, losses=3, single=True, vouched=False, **grounds)
    assert last == Record(problem=Problem(code="connection_lost", message="cut"), trouble=trouble)


def test_an_engine_that_serves_nobody_blames_no_line_that_it_has_alone():
    waits = []
    for losses in range(4):
        found = decision(BROKEN, losses=losses, single=True, vouched=False, serves=False)
        assert isinstance(found, Retry)
        assert (found.losses, found.trouble) == ([1, 2, 3, 3][losses], Trouble.MUTE)
        waits.append(found.after_s)
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_an_engine_that_is_away_costs_a_line_nothing():
    found = decision(errors.NotSent("refused"), tries=5)
    assert found == Retry(after_s=0.0, tries=5, losses=0, trouble=Trouble.LOST)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_engine_that_refuses_everybody_costs_a_line_nothing(status: int):
    found = decision(reply(status), tries=5, alive=False)
    assert isinstance(found, Retry)
    assert (found.tries, found.trouble) == (5, Trouble.BUSY)


def test_the_engines_own_word_on_how_long_to_wait_is_honoured_within_reason():
    found = decision(reply(429, retry_after_s=7.0))
    assert isinstance(found, Retry)
    assert found.after_s == 7.0
    found = decision(reply(429, retry_after_s=86_400.0))
    assert isinstance(found, Retry)
    assert found.after_s == retries.LONGEST_TOLD_S


def test_waits_are_spread():
    happened = Happened(event=reply(500), tries=1, alive=True, vouched=True, chance=0.0)
    found = retries.decide(happened, sound=True)
    assert isinstance(found, Retry)
    assert found.after_s == 0.5


def test_an_answer_that_is_no_json_is_tried_again_and_then_recorded():
    assert isinstance(decision(reply(200), sound=False), Retry)
    last = decision(reply(200), tries=5, sound=False)
    assert isinstance(last, Record)
    assert last.problem is not None
    assert last.problem.code == "invalid_answer"


def test_an_answer_that_is_no_json_is_the_engines_fault_if_nobody_vouches():
    found = decision(reply(200), tries=5, sound=False, vouched=False)
    assert isinstance(found, Retry)
    assert (found.tries, found.trouble) == (5, Trouble.FAULTY)


def test_an_answer_that_is_too_large_is_recorded_at_once():
    found = decision(errors.AnswerTooLarge("more than 5 bytes"))
    assert isinstance(found, Record)
    assert found.problem == Problem(code="answer_too_large", message="more than 5 bytes")


def test_a_key_that_the_engine_refuses_everybody_stops_the_runner_and_fails_no_line():
    assert isinstance(decision(reply(401), vouched=False, alone=True), Stop)


@pytest.mark.parametrize("status", [403, 404, 405, 500, 501, 599])
def test_a_refusal_for_which_nobody_vouches_is_the_engines(status: int):
    found = decision(reply(status), tries=5, vouched=False, serves=False)
    assert isinstance(found, Retry)
    assert (found.tries, found.trouble) == (5, Trouble.FAULTY)


@pytest.mark.parametrize("status", [403, 404, 405, 500, 501, 599])
def test_a_line_of_the_last_few_speaks_for_itself_and_takes_its_time(status: int):
    waits = []
    for tries in range(5):
        found = decision(reply(status), tries=tries, vouched=False, serves=False, alone=True)
        assert isinstance(found, Retry)
        assert (found.tries, found.trouble) == (tries + 1, Trouble.DOUBTED)
        waits.append(found.after_s)
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0]
    last = decision(reply(status), tries=5, vouched=False, serves=False, alone=True)
    assert isinstance(last, Record)
    assert last.problem is not None
    assert last.problem.code == f"http_{status}"


@pytest.mark.parametrize(("status", "for_good"), [(403, False), (404, True), (405, True)])
def test_a_route_that_served_once_is_there_but_a_door_may_have_shut(status: int, for_good: bool):
    assert isinstance(decision(reply(status), vouched=False), Record) is for_good
    assert isinstance(decision(reply(status), vouched=True, serves=False), Record) is not for_good
