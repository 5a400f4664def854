"""How much batches may take beside callers, by how late these get their first tokens."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from compute_functions.instance_job.batch_allowance import (
    FLOOR,
    MOST_REST_S,
    PRESENT_S,
    REST_EVERY_S,
    REST_S,
    RESTED,
    UNKNOWN,
    UNMEASURED_S,
    BatchAllowance,
)

SIZE = 1000
ALONE_S = 0.1
EVERY_S = 0.5


@dataclass
class Callers:
    """People who ask one engine evenly, in a time of their own."""

    allowance: BatchAllowance = field(default_factory=lambda: BatchAllowance(1.25))
    now: float = 0.0
    size: int = SIZE

    def ask(
        self, count: int, *, seconds: float = ALONE_S, runners: int = 1, lines: int = 1
    ) -> float:
        """Ask so often; each first token takes so long. Return what batches have then."""
        found = self.allowance.look(self.now, runners=runners, lines=lines)
        for _ in range(count):
            self.allowance.came(self.now)
            self.allowance.first_token(seconds=seconds, size=self.size, now=self.now + seconds)
            self.now += EVERY_S
            found = self.allowance.look(self.now, runners=runners, lines=lines)
        return found


@pytest.fixture
def callers() -> Callers:
    known = Callers()
    known.ask(20, runners=0, lines=0)
    return known


def test_batches_begin_with_little_and_get_more_while_callers_do_not_notice(
    callers: Callers,
) -> None:
    assert callers.ask(0) == FLOOR
    assert 10 * FLOOR < callers.ask(80) < 0.5
    assert callers.ask(400) == 1.0


def test_they_get_less_while_callers_wait_longer(callers: Callers) -> None:
    callers.ask(500)
    assert callers.ask(24, seconds=2 * ALONE_S) <= 0.6**2
    assert callers.ask(500, seconds=2 * ALONE_S) == FLOOR


def test_before_they_wait_as_long_as_is_allowed_batches_get_no_more(callers: Callers) -> None:
    assert callers.ask(400, seconds=1.12 * ALONE_S) == 1.0
    assert callers.ask(400, seconds=1.13 * ALONE_S) == FLOOR


def test_a_single_slow_answer_costs_half_and_for_a_while(callers: Callers) -> None:
    callers.ask(500)
    assert callers.ask(1, seconds=5 * ALONE_S) == 0.5
    assert 0.5 < callers.ask(10) < 0.6
    assert callers.ask(120) == 1.0


def test_who_is_in_time_again_for_long_lets_it_grow_as_at_first(callers: Callers) -> None:
    callers.ask(500)
    while callers.ask(1, seconds=2 * ALONE_S) > 0.02:
        callers.now += 2.0
        callers.ask(0)
    callers.now += 2.0
    assert callers.ask(150) < 0.1
    assert callers.ask(80) == 1.0


@pytest.mark.parametrize("share_late", [0.05, 0.3])
def test_few_who_wait_much_longer_are_enough(share_late: float) -> None:
    """Medians would say nothing of them: where batches have all, so many are late."""
    chance = random.Random(4)  # noqa: S311 - callers, not secrets
    callers = Callers()
    for _ in range(400):
        callers.ask(1, seconds=chance.uniform(0.5, 1.0) * ALONE_S, runners=0, lines=0)
    late, found = 0, callers.ask(0)
    for number in range(20_000):
        is_late = chance.random() < share_late * found
        late += is_late and number >= 2000
        slower = 1.6 if is_late else chance.uniform(0.5, 1.0)
        found = callers.ask(1, seconds=slower * ALONE_S, lines=int(found > 0))
    assert 18_000 * 0.003 < late < 18_000 * 0.008


def test_who_asked_before_something_was_taken_back_has_it_taken_back_once(
    callers: Callers,
) -> None:
    """One stall of the engine makes all wait who are there."""
    callers.ask(500)
    for _ in range(30):
        callers.allowance.first_token(seconds=3.0, size=SIZE, now=callers.now)
    assert callers.ask(0) == 0.5
    callers.now += 0.5
    assert callers.ask(0) == 0.5
    # Asked a moment after, when runners had not heard of it.
    callers.allowance.first_token(seconds=0.3, size=SIZE, now=callers.now + 0.4)
    callers.now += 0.75
    assert callers.ask(0) == 0.5
    for seconds in (1.0, 3.0):
        callers.allowance.first_token(seconds=seconds, size=SIZE, now=callers.now + 0.5)
    callers.now += 0.5
    assert callers.ask(0) == 0.5
    callers.allowance.first_token(seconds=0.3, size=SIZE, now=callers.now)
    assert callers.ask(0) == 0.25


def test_one_line_that_is_under_way_is_not_awaited(callers: Callers) -> None:
    callers.ask(500)
    assert callers.ask(5, seconds=2 * ALONE_S, lines=1) == 0.25


def test_long_lines_that_are_still_under_way_are_awaited(callers: Callers) -> None:
    callers.ask(500, lines=40)
    assert callers.ask(2, seconds=2 * ALONE_S, lines=40) == 0.5
    assert callers.ask(3, seconds=2 * ALONE_S, lines=21) == 0.5
    callers = Callers()
    callers.ask(20, runners=0, lines=0)
    callers.ask(500, lines=40)
    assert callers.ask(2, seconds=2 * ALONE_S, lines=40) == 0.5
    # Their number has fallen as it should: what callers wait for now is what is left to batches.
    assert callers.ask(3, seconds=2 * ALONE_S, lines=20) == 0.25


def test_lines_that_do_not_become_fewer_are_not_awaited_for_ever(callers: Callers) -> None:
    callers.ask(500, lines=40)
    assert callers.ask(200, seconds=2 * ALONE_S, lines=40) < 0.01


def test_long_requests_are_held_against_long_ones(callers: Callers) -> None:
    callers.size = 100 * SIZE
    callers.ask(20, seconds=10 * ALONE_S, runners=0, lines=0)
    callers.ask(500, seconds=10 * ALONE_S)
    assert callers.ask(10, seconds=10 * ALONE_S) == 1.0


def test_of_callers_who_were_never_alone_it_is_found_out() -> None:
    callers = Callers()
    callers.ask(7, seconds=2 * ALONE_S, lines=3)
    assert callers.ask(1, seconds=2 * ALONE_S, lines=3) == 0.0
    # What is under way still slows them down, and says nothing.
    assert callers.ask(10, seconds=2 * ALONE_S, lines=3) == 0.0
    assert callers.ask(int(REST_S / EVERY_S) - 2, lines=0) == 0.0
    assert callers.ask(2, lines=0) == FLOOR
    assert callers.ask(100, seconds=2 * ALONE_S) == FLOOR


def test_many_callers_are_known_sooner() -> None:
    callers = Callers()
    callers.ask(8)
    callers.ask(0, lines=0)
    callers.ask(4, lines=0)
    found = []
    for _ in range(RESTED):
        callers.now += 0.01
        callers.allowance.came(callers.now)
        callers.allowance.first_token(seconds=0.005, size=SIZE, now=callers.now)
        found += [callers.ask(0, lines=0)]
    assert found[-1] > 0.0
    assert set(found[: RESTED // 2]) == {0.0}


def standing_back() -> Callers:
    """Return callers of whom nothing is known, while batches stand back."""
    callers = Callers()
    callers.ask(UNKNOWN)
    assert callers.ask(4, lines=0) == 0.0
    return callers


def test_a_line_that_is_told_late_breaks_a_rest() -> None:
    callers = standing_back()
    callers.ask(30, lines=0)
    callers.ask(1, lines=1)
    assert callers.ask(int(REST_S / EVERY_S) - 1, lines=0) == 0.0
    assert callers.ask(3, lines=0) > 0.0


def test_what_was_seen_before_such_a_line_is_not_enough() -> None:
    callers = standing_back()

    def seen(count: int) -> float:
        for _ in range(count):
            callers.allowance.first_token(seconds=0.01, size=SIZE, now=callers.now + 0.02)
        return callers.ask(0, lines=0)

    assert seen(RESTED - 10) == 0.0
    callers.ask(1, lines=1)
    callers.ask(1, lines=0)
    assert seen(RESTED - 10) == 0.0
    assert seen(20) > 0.0


@pytest.mark.parametrize("asked_after", [-20.0, 0.5])
def test_who_asked_before_it_was_quiet_was_not_alone(asked_after: float) -> None:
    """Not while lines were under way, nor while runners could not have heard of the rest."""
    callers = Callers()
    callers.ask(UNKNOWN)
    begun = callers.now
    assert callers.ask(4, lines=0) == 0.0
    for _ in range(30):
        seconds = callers.now - begun - asked_after
        callers.allowance.first_token(seconds=seconds, size=SIZE, now=callers.now)
        callers.ask(1, lines=0)
    while callers.ask(1, lines=0) == 0.0:
        pass
    assert callers.ask(100, seconds=1.0) == FLOOR


def test_a_rest_ends_with_whoever_it_is_for() -> None:
    callers = standing_back()
    callers.now += PRESENT_S + 1.0
    assert callers.ask(0, lines=0) == FLOOR
    callers = standing_back()
    callers.ask(0, runners=0, lines=0)
    assert callers.ask(0, lines=0) == FLOOR


def test_a_rest_goes_on_for_callers_whose_answers_are_long() -> None:
    """They come seldom, and are there all the time."""
    callers = standing_back()
    callers.now += PRESENT_S + 1.0
    assert callers.allowance.look(callers.now, runners=1, lines=0, callers=1) == 0.0


def test_it_is_not_repeated_for_who_was_late_before_it(callers: Callers) -> None:
    callers.ask(2, seconds=2 * ALONE_S)
    said = callers.ask(1, lines=0)
    assert said == 0.0
    while said == 0.0:
        said = callers.ask(1, lines=0)
    found = []
    for _ in range(int(1.5 * REST_EVERY_S / 6)):
        found += [callers.ask(1)]
        callers.now += 6.0 - EVERY_S
    assert 0.0 not in found


def test_nobody_stands_back_for_long_or_often() -> None:
    callers = Callers()
    # Hardly anybody asks.
    callers.ask(8)
    begun = callers.now
    while callers.allowance.look(callers.now, runners=1, lines=0) == 0.0:
        callers.now += EVERY_S
        callers.allowance.came(callers.now)
    assert REST_S <= callers.now - begun <= REST_S + 2.0
    found = [callers.ask(1) for _ in range(int(REST_EVERY_S / EVERY_S) - 60)]
    assert 0.0 not in found
    assert found[-1] == 1.0


def test_lines_that_never_end_do_not_hold_it_up() -> None:
    callers = Callers()
    assert callers.ask(8) == 0.0
    assert callers.ask(int(MOST_REST_S / EVERY_S) - 1) == 0.0
    assert callers.ask(2) > 0.0


def test_who_is_late_for_other_reasons_holds_nothing_up_for_long(callers: Callers) -> None:
    """They have become many, say: they are as late without a batch."""
    callers.ask(500)
    found = 1.0
    for _ in range(int(2 * REST_EVERY_S / EVERY_S)):
        found = callers.ask(1, seconds=3 * ALONE_S, lines=int(found > 0))
    assert found == 1.0


def test_who_was_late_in_vain_long_ago_stops_no_batch_of_today(callers: Callers) -> None:
    callers.ask(8, seconds=2 * ALONE_S)
    while callers.ask(1, lines=0) == 0.0:
        pass
    callers.ask(1, seconds=2 * ALONE_S)
    callers.ask(500)
    callers.ask(1, runners=0, lines=0)
    callers.now += 24 * 3600.0
    callers.ask(50, runners=0, lines=0)
    assert 0.0 not in [callers.ask(1) for _ in range(20)]


def test_whoever_comes_to_an_engine_that_batches_filled_is_no_reason(callers: Callers) -> None:
    """Nobody was there, so that the allowance did not bind them."""
    callers.ask(500)
    for _ in range(20):
        callers.now += PRESENT_S + 1.0
        assert callers.ask(1, seconds=9 * ALONE_S, lines=30) == 1.0
    # Who comes soon after is one, for batches had to take less by then.
    callers.ask(8, lines=1)
    assert callers.ask(1, seconds=9 * ALONE_S) == 0.5
    assert callers.ask(120) == 1.0


def test_a_crowd_that_waited_is_made_up_for_by_as_many_in_time(callers: Callers) -> None:
    """It is taken back once, but as many must be in time as for each of them."""
    callers.ask(500)
    for _ in range(10):
        callers.allowance.first_token(seconds=5.0, size=SIZE, now=callers.now)
    assert callers.ask(0) == 0.5
    # Nine of them at one in a hundred.
    assert callers.ask(9 * 99) == 0.5
    assert callers.ask(20) > 0.5


def test_not_for_ever(callers: Callers) -> None:
    callers.ask(500)
    for _ in range(1000):
        callers.allowance.first_token(seconds=5.0, size=SIZE, now=callers.now)
    assert callers.ask(21 * 99) > 0.5


def test_of_the_least_there_is_nothing_to_make_up_for(callers: Callers) -> None:
    callers.ask(0)
    for _ in range(10):
        callers.allowance.first_token(seconds=5.0, size=SIZE, now=callers.now)
    assert callers.ask(1, lines=0) == 0.0
    while callers.ask(1, lines=0) == 0.0:
        pass
    assert callers.ask(80) > 1.5 * FLOOR


def test_who_leaves_before_the_first_token_counts_if_that_was_late(callers: Callers) -> None:
    callers.ask(500)
    callers.allowance.gave_up(seconds=20.0, size=SIZE, now=callers.now)
    assert callers.ask(0) == 0.5
    callers.now += 2.0
    assert callers.ask(0) == 0.5
    for _ in range(50):
        callers.allowance.gave_up(seconds=0.5 * ALONE_S, size=SIZE, now=callers.now + 1.0)
        callers.allowance.gave_up(seconds=20.0, size=100 * SIZE, now=callers.now + 30.0)
    assert callers.ask(0) == 0.5
    callers.ask(100)
    callers.ask(0, runners=0)
    callers.allowance.gave_up(seconds=20.0, size=SIZE, now=callers.now)
    assert callers.ask(0) == 1.0


def test_batches_get_no_more_while_callers_wait_for_their_first_token(callers: Callers) -> None:
    before = callers.ask(24)
    for _ in range(120):
        callers.allowance.came(callers.now)
        callers.now += EVERY_S
        found = callers.allowance.look(callers.now, runners=1, lines=1, callers=3)
    assert before <= found <= 1.4 * before < 0.1


def test_many_callers_do_not_make_it_grow_within_seconds(callers: Callers) -> None:
    callers.ask(400, runners=0, lines=0)
    for _ in range(300):
        callers.allowance.came(callers.now)
        callers.allowance.first_token(seconds=ALONE_S, size=SIZE, now=callers.now)
        callers.now += 0.02
        found = callers.allowance.look(callers.now, runners=1, lines=1)
    assert FLOOR < found < 0.2


def test_a_size_that_few_ask_for_is_found_out_as_well(callers: Callers) -> None:
    """Long requests, which batches delay most, beside twice as many short ones."""
    said = callers.ask(0)

    def stood_back(turns: int) -> bool:
        nonlocal said
        found = []
        for number in range(turns):
            callers.size = 64 * SIZE if number % 3 == 0 else SIZE
            said = callers.ask(1, lines=int(said > 0))
            found.append(said)
        return 0.0 in found

    assert stood_back(120)
    assert said > 0.0
    # That is known then.
    assert not stood_back(int(2 * REST_EVERY_S / EVERY_S))


def test_who_was_never_late_does_not_vote_down_who_is(callers: Callers) -> None:
    """A class of which few are known may have no more late ones than others."""
    for _ in range(400):
        callers.ask(1, runners=0, lines=0)
    callers.size = 64 * SIZE
    callers.ask(10, runners=0, lines=0)
    chance = random.Random(9)  # noqa: S311 - callers, not secrets
    late, found = 0, callers.ask(0)
    for number in range(8000):
        callers.size = 64 * SIZE if number % 10 == 0 else SIZE
        is_late = number % 10 != 0 and chance.random() < 0.5 * found
        late += is_late
        found = callers.ask(1, seconds=(2 if is_late else 1) * ALONE_S, lines=int(found > 0))
    assert late < 8000 * 0.02


def test_callers_who_do_not_stream_say_nothing(callers: Callers) -> None:
    found = 0.0
    for _ in range(2000):
        callers.allowance.came(callers.now)
        callers.now += EVERY_S
        found = callers.allowance.look(callers.now, runners=1, lines=1)
    assert found == 1.0


def test_without_callers_nothing_is_learnt(callers: Callers) -> None:
    before = callers.ask(30)
    assert callers.allowance.has_callers(callers.now)
    callers.now += 10 * PRESENT_S
    assert not callers.allowance.has_callers(callers.now)
    assert callers.allowance.look(callers.now, runners=1, lines=9) == before


def test_what_was_known_long_ago_is_found_out_again(callers: Callers) -> None:
    callers.now += 2 * 3600
    assert callers.ask(8) == 0.0


def test_a_long_stream_that_nobody_comes_beside_does_not_keep_batches_at_the_least() -> None:
    allowance = BatchAllowance(1.25)
    allowance.came(0.0)
    now, found = 0.0, 0.0
    while now < 300.0:
        now += 0.25
        found = allowance.look(now, runners=1, lines=1, callers=1)
    assert found == 1.0


@pytest.mark.parametrize("every_s", [9.0, 11.0, 15.0, 40.0])
def test_callers_who_come_seldom_count(every_s: float) -> None:
    callers = Callers()
    callers.ask(20, runners=0, lines=0)
    assert seldom(callers, every_s, ALONE_S) > 0.5
    assert seldom(callers, every_s, 2 * ALONE_S) < 0.1


def seldom(callers: Callers, every_s: float, seconds: float) -> float:
    """Ask for half an hour, each time for nearly as long as until the next one comes."""
    end, found = callers.now + 1800.0, 0.0
    while callers.now < end:
        callers.allowance.came(callers.now)
        callers.allowance.look(callers.now + 0.05, runners=1, lines=1, callers=1)
        callers.allowance.first_token(seconds=seconds, size=SIZE, now=callers.now + seconds)
        following = callers.now + every_s
        while callers.now < following:
            callers.now += 0.25
            found = callers.allowance.look(callers.now, runners=1, lines=1, callers=1)
    return found


def test_who_comes_seldom_and_leaves_at_once_counts() -> None:
    allowance, found = BatchAllowance(1.25), 0.0
    for now in range(1200):
        if now % 11 == 0:
            allowance.came(now + 0.1)
        found = allowance.look(float(now), runners=1, lines=1)
    assert found == 1.0


def test_who_complained_long_ago_and_alone_is_forgotten(callers: Callers) -> None:
    callers.ask(1, seconds=9 * ALONE_S)

    def wait(seconds: float) -> float:
        found = 0.0
        for _ in range(int(4 * seconds)):
            callers.now += 0.25
            found = callers.allowance.look(callers.now, runners=1, lines=1, callers=1)
        return found

    assert wait(UNMEASURED_S - 10.0) == FLOOR
    assert wait(300.0) == 1.0


def test_a_token_that_was_asked_for_beside_a_batch_tells_nothing_of_callers_alone(
    callers: Callers,
) -> None:
    """One batch after the other ends while a caller waits."""
    for _ in range(80):
        callers.allowance.look(callers.now, runners=1, lines=9)
        callers.allowance.came(callers.now)
        callers.allowance.look(callers.now + 4.5, runners=0, lines=0)
        callers.allowance.first_token(seconds=5.0, size=SIZE, now=callers.now + 5.0)
        callers.now += 6.0
    # They still wait for much longer than without a batch.
    assert callers.ask(400, seconds=4.0) == FLOOR


def test_a_clock_that_saw_no_time_go_by_breaks_no_answer() -> None:
    callers = Callers()
    callers.ask(20, seconds=0.0, runners=0, lines=0)
    assert callers.ask(20, seconds=0.0) > 0.0
