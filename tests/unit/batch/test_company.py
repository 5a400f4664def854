"""Who is asked together with lines that lost their engine, and who waits for whom."""

from __future__ import annotations

import pytest

from batch.company import ALONE_FROM, COMPANY, MOST_LOSSES, Company, asked_alone
from batch.waiting import Waiting


def filled(company: Company, *, losses: int) -> int:
    """Have lines join until none is admitted, or many are; return how many did."""
    count = 0
    while company.admits(losses) and count < 600:
        company.join(losses)
        count += 1
    return count


@pytest.mark.parametrize(("losses", "most"), [(0, 600), (1, COMPANY), (2, 1), (3, 1)])
def test_the_more_often_a_line_was_lost_the_fewer_are_asked_with_it(losses: int, most: int):
    assert filled(Company(), losses=losses) == most


def test_the_most_suspected_line_says_how_many_there_are_and_nobody_joins_one_that_is_alone():
    company = Company()
    company.join(1)
    assert filled(company, losses=0) == COMPANY - 1
    assert not company.admits(ALONE_FROM)
    company.leave(1)
    assert filled(company, losses=0) == 600
    alone = Company()
    alone.join(ALONE_FROM)
    assert not alone.admits(0)
    alone.leave(ALONE_FROM)
    assert alone.admits(ALONE_FROM)


def test_a_line_was_alone_if_nobody_was_there_from_its_beginning_to_its_end():
    company = Company()
    first = company.join(0)
    assert company.was_alone(first)
    second = company.join(0)
    assert not company.was_alone(first)
    company.leave(0)
    assert not company.was_alone(second)
    company.leave(0)
    third = company.join(0)
    assert company.was_alone(third)


def test_suspects_come_last_and_the_least_suspected_first():
    waiting = Waiting({7: 2, 5: 1, 6: 1})
    waiting.put(1, due=3.0, losses=0)
    assert waiting.wait_s(0.0, 9.0) == 3.0
    assert waiting.wait_s(3.0, 9.0) == 0.005
    assert waiting.due(2.0) is None
    assert waiting.due(3.0) == 1
    order = []
    while (losses := waiting.next_suspect(3.0)) is not None:
        order.append((losses, waiting.suspect()))
    assert order == [(1, 5), (1, 6), (2, 7)]
    assert not waiting


def test_a_suspect_waits_until_it_is_due_and_whoever_is_to_blame_is_none():
    waiting = Waiting({3: MOST_LOSSES})
    assert waiting.due(0.0) == 3
    waiting.put(4, due=5.0, losses=1)
    assert waiting.next_suspect(4.0) is None
    assert waiting.wait_s(4.0, 0.25) == 0.25
    assert waiting.wait_s(4.9, 0.25) == pytest.approx(0.1)
    assert waiting.next_suspect(5.0) == 1


def test_lines_that_are_asked_alone():
    assert asked_alone({1: 1, 2: 2, 3: 3}) == [2, 3]
