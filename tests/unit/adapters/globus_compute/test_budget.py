"""The request budget: never over the allowance, at once for the lonely, even for a flood."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resource_server.adapters.globus_compute.budget import (
    ALLOWANCE,
    WINDOW_S,
    Budgets,
    RequestBudget,
)


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def most_in_a_window(sent: list[float], window_s: float) -> int:
    return max(
        (sum(start <= at < start + window_s for at in sent) for start in sent),
        default=0,
    )


def test_a_lone_request_goes_at_once() -> None:
    clock = HandClock()
    budget = RequestBudget(requests=15, window_s=10, burst=5, clock=clock)
    clock.now += 3600
    assert budget.wait_s() == 0
    assert budget.take()


def test_a_burst_is_followed_by_an_even_pace() -> None:
    clock = HandClock()
    budget = RequestBudget(requests=15, window_s=10, burst=5, clock=clock)
    sent = []
    while clock.now < 1030:
        if budget.take():
            sent.append(clock.now)
        clock.now += max(budget.wait_s(), 1e-9)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent[5:])]
    assert sent[:5] == pytest.approx([1000.0] * 5)
    assert gaps == pytest.approx([1.0] * len(gaps))


@given(
    waits=st.lists(st.floats(min_value=0, max_value=20), max_size=120),
    requests=st.integers(min_value=2, max_value=40),
    data=st.data(),
)
def test_no_window_ever_holds_more_than_the_allowance(
    waits: list[float], requests: int, data: st.DataObject
) -> None:
    clock = HandClock()
    burst = data.draw(st.integers(min_value=1, max_value=requests - 1))
    budget = RequestBudget(requests=requests, window_s=10, burst=burst, clock=clock)
    sent = []
    for wait in waits:
        clock.now += wait
        while budget.take():
            sent.append(clock.now)
    assert most_in_a_window(sent, 10) <= requests


@given(
    pauses=st.lists(
        st.tuples(st.floats(min_value=0, max_value=5), st.floats(min_value=0, max_value=30)),
        max_size=30,
    )
)
def test_a_pause_lets_nothing_go_and_breaks_no_promise(pauses: list[tuple[float, float]]) -> None:
    clock = HandClock()
    budget = RequestBudget(requests=15, window_s=10, burst=5, clock=clock)
    sent = []
    for wait, pause in pauses:
        clock.now += wait
        budget.pause(pause)
        until = clock.now + pause
        while clock.now < until - 1e-6:
            assert not budget.take()
            clock.now += pause / 4
        while budget.take():
            sent.append(clock.now)
    assert most_in_a_window(sent, 10) <= 15


def test_after_a_pause_exactly_one_request_goes_first() -> None:
    clock = HandClock()
    budget = RequestBudget(requests=15, window_s=10, burst=5, clock=clock)
    budget.pause(7)
    assert budget.wait_s() == pytest.approx(7)
    clock.now += 7
    assert [budget.take(), budget.take()] == [True, False]


def test_wait_s_is_what_take_needs() -> None:
    clock = HandClock()
    budget = RequestBudget(requests=4, window_s=10, burst=1, clock=clock)
    assert budget.take()
    clock.now += budget.wait_s() - 0.01
    assert not budget.take()
    clock.now += 0.02
    assert budget.take()


def test_an_impossible_burst_is_refused() -> None:
    with pytest.raises(ValueError, match="burst"):
        RequestBudget(requests=5, window_s=10, burst=5)


@pytest.mark.parametrize("allowance", [4, 5, 6, 10, 19, ALLOWANCE, 100])
def test_both_purposes_together_stay_within_the_allowance(allowance: int) -> None:
    clock = HandClock()
    budgets = Budgets.within(allowance, clock)
    sent = []
    while clock.now < 1000 + 5 * WINDOW_S:
        for budget in (budgets.submissions, budgets.inquiries):
            while budget.take():
                sent.append(clock.now)
        clock.now += 0.01
    assert most_in_a_window(sent, WINDOW_S) <= allowance


def test_the_documented_allowance_leaves_one_request_to_spare() -> None:
    clock = HandClock()
    budgets = Budgets.within(ALLOWANCE, clock)
    sent = []
    while clock.now < 1000 + 3 * WINDOW_S:
        for budget in (budgets.submissions, budgets.inquiries):
            while budget.take():
                sent.append(clock.now)
        clock.now += 0.01
    assert most_in_a_window(sent, WINDOW_S) <= ALLOWANCE - 1
