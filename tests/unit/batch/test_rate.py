"""How fast lines are done, from counts that are looked at now and then."""

from __future__ import annotations

import pytest

from batch.progress import Rate


def seen(*counts: int) -> Rate:
    """Return the rate of counts that were seen two seconds apart."""
    rate = Rate()
    for place, count in enumerate(counts):
        rate.saw(2.0 * place, count)
    return rate


def test_it_is_that_of_the_first_and_the_last_count() -> None:
    assert seen(10, 12, 30).lines_per_s == 5.0
    assert seen(10, 12, 30).left_s(15) == 3.0


@pytest.mark.parametrize("counts", [(5_278, 0), (5_278, 0, 5_278), (5_278, 0, 40)])
def test_it_is_never_negative_also_where_lines_are_asked_anew(counts: tuple[int, ...]) -> None:
    rate = seen(*counts)
    assert rate.lines_per_s == 0.0
    assert rate.left_s(7) is None


def test_one_count_tells_no_rate() -> None:
    assert seen(3).lines_per_s is None
