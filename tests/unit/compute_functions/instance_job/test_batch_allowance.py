"""How much batches may take beside callers, by how late these get their first tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from compute_functions.instance_job.batch_allowance import (
    FLOOR,
    MOST_REST_S,
    PRESENT_S,
    REST_EVERY_S,
    REST_S,
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
    assert callers.ask(1) == FLOOR
    assert FLOOR < callers.ask(40) < callers.ask(40)
    assert callers.ask(400) == 1.0


def test_they_get_less_while_callers_wait_longer(callers: Callers) -> None:
    callers.ask(500)
    assert callers.ask(24, seconds=2 * ALONE_S) <= 0.6**2
    assert callers.ask(500, seconds=2 * ALONE_S) == FLOOR


def test_what_is_near_to_the_limit_changes_nothing(callers: Callers) -> None:
    callers.ask(100)
    before = callers.ask(8, seconds=1.2 * ALONE_S)
    assert callers.ask(100, seconds=1.2 * ALONE_S) == before


def test_a_single_slow_answer_is_no_reason(callers: Callers) -> None:
    callers.ask(500)
    callers.ask(1, seconds=50 * ALONE_S)
    assert callers.ask(20) == 1.0


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
    assert callers.ask(7, lines=0) == 0.0
    assert callers.ask(2, lines=0) == FLOOR
    assert callers.ask(100, seconds=2 * ALONE_S) == FLOOR


def test_nobody_stands_back_for_long_or_often() -> None:
    callers = Callers()
    # Hardly anybody asks.
    callers.ask(8)
    begun = callers.now
    while callers.allowance.look(callers.now, runners=1, lines=0) == 0.0:
        callers.now += EVERY_S
        callers.allowance.came(callers.now)
    assert callers.now - begun <= REST_S
    found = [callers.ask(1) for _ in range(int(REST_EVERY_S / EVERY_S) - 60)]
    assert 0.0 not in found
    assert found[-1] == 1.0


def test_lines_that_never_end_do_not_hold_it_up() -> None:
    callers = Callers()
    assert callers.ask(8) == 0.0
    assert callers.ask(int(MOST_REST_S / EVERY_S) - 1) == 0.0
    assert callers.ask(2) > 0.0


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
    found = callers.ask(1, seconds=9 * ALONE_S)
    for _ in range(4 * 300):
        callers.now += 0.25
        found = callers.allowance.look(callers.now, runners=1, lines=1, callers=1)
    assert found == 1.0


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
