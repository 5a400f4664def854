"""How soon callers get their first tokens without a batch: the latest one in a hundred."""

from __future__ import annotations

import pytest

from compute_functions.instance_job.callers_alone import FEWEST, CallersAlone, Usual

SIZE = 1000
HOUR_S = 3600.0


def known(count: int, *, at: float = 0.0) -> CallersAlone:
    """Return what is known of so many, who waited for 1, 2, 3 … seconds and came one by one."""
    alone = CallersAlone()
    for number in range(count):
        alone.note(number + 1.0, size=SIZE, now=at + number)
    return alone


@pytest.mark.parametrize(
    ("count", "seconds", "latest"),
    [
        (FEWEST, FEWEST - 1, 2 / (FEWEST + 1)),
        (50, 49, 2 / 51),
        (199, 198, 2 / 200),
        (298, 297, 2 / 299),
        (299, 297, 3 / 300),
        (400, 397, 4 / 401),
    ],
)
def test_it_is_the_latest_in_a_hundred_or_the_second_latest(
    count: int, seconds: float, latest: float
) -> None:
    assert known(count).usual(SIZE, now=count) == Usual(seconds=seconds, latest=latest)


def test_only_the_last_ones_count() -> None:
    alone = known(400)
    for number in range(400):
        alone.note(0.5, size=SIZE, now=400.0 + number)
    assert alone.usual(SIZE, now=800.0) == Usual(seconds=0.5, latest=4 / 401)


def test_of_too_few_nothing_is_known() -> None:
    assert known(FEWEST - 1).usual(SIZE, now=0.0) is None
    assert CallersAlone().usual(SIZE, now=0.0) is None


def test_each_class_of_sizes_is_for_itself() -> None:
    alone = known(50)
    assert alone.usual(600, now=50.0) == alone.usual(2000, now=50.0) == alone.usual(SIZE, now=50.0)
    assert alone.usual(2 * 2000, now=50.0) is None
    assert alone.usual(300, now=50.0) is None


def test_a_crowd_that_is_served_at_once_is_one() -> None:
    """All who waited for the engine to begin, say."""
    alone = known(50)
    for _ in range(30):
        alone.note(60.0, size=SIZE, now=50.0)
    assert alone.usual(SIZE, now=51.0) == Usual(seconds=50.0, latest=2 / 52)


def test_an_hour_after_the_last_of_them_nobody_knows() -> None:
    alone = known(50)
    assert alone.usual(SIZE, now=49.0 + HOUR_S) is not None
    assert alone.usual(SIZE, now=50.0 + HOUR_S) is None


def test_what_is_older_than_an_hour_counts_where_there_are_few() -> None:
    alone = known(400)
    for number in range(10):
        alone.note(0.5, size=SIZE, now=2 * HOUR_S + number)
    # The last two hundred: ten of now, and those from 211 to 400.
    assert alone.usual(SIZE, now=2 * HOUR_S + 10) == Usual(seconds=399.0, latest=2 / 201)


def test_what_is_much_older_counts_no_more() -> None:
    alone = known(200)
    for number in range(10):
        alone.note(0.5, size=SIZE, now=7 * HOUR_S + number)
    assert alone.usual(SIZE, now=7 * HOUR_S + 10) == Usual(seconds=0.5, latest=2 / 11)
    alone = known(200)
    alone.note(0.5, size=SIZE, now=7 * HOUR_S)
    assert alone.usual(SIZE, now=7 * HOUR_S) is None


def test_a_clock_that_saw_no_time_go_by_is_taken_for_a_millisecond() -> None:
    alone = CallersAlone()
    for number in range(20):
        alone.note(0.0, size=SIZE, now=float(number))
    assert alone.usual(SIZE, now=20.0) == Usual(seconds=0.001, latest=2 / 21)
