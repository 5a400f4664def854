from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resource_server.domain.limits import Bucket

AMOUNTS = st.integers(min_value=1, max_value=1_000_000)
#: What comes next: so many seconds later, somebody asks so often in a row.
VISITS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=120), st.integers(min_value=1, max_value=20)),
    max_size=40,
)


@given(amount=AMOUNTS, visits=VISITS)
def test_no_more_gets_through_than_the_amount_and_what_filled_up_since(amount, visits):
    now, through = 0.0, 0
    bucket = Bucket.full(amount, now)
    for pause_s, asked in visits:
        now += pause_s
        for _ in range(asked):
            bucket = bucket.as_of(now, amount)
            if not bucket.wait_s(1):
                bucket, through = bucket.less(1), through + 1
        assert through <= amount + now * amount / 60 + 1e-3


@given(amount=AMOUNTS, taken=st.integers(min_value=0, max_value=5_000_000))
def test_after_the_wait_that_it_names_there_is_one(amount, taken):
    bucket = Bucket.full(amount, 0.0).less(taken)
    wait_s = bucket.wait_s(1)
    assert bucket.as_of(wait_s, amount).wait_s(1) == pytest.approx(0, abs=1e-3)
    assert bucket.as_of(bucket.reset_s, amount).remaining == amount


@given(amount=st.integers(min_value=1, max_value=3000))
def test_the_whole_amount_is_to_be_had_at_once(amount):
    bucket = Bucket.full(amount, 0.0)
    for _ in range(amount):
        assert bucket.wait_s(1) == 0
        bucket = bucket.as_of(0.0, amount).less(1)
    assert bucket.wait_s(1) > 0
    assert bucket.remaining == 0


def test_what_is_charged_after_the_fact_is_waited_for():
    bucket = Bucket.full(600, 0.0).less(1200)
    assert bucket.wait_s(1) == pytest.approx(60.1)
    assert bucket.reset_s == pytest.approx(120)


def test_a_clock_that_goes_back_fills_nothing():
    bucket = Bucket.full(60, 100.0).less(60).as_of(40.0, 60)
    assert bucket.remaining == 0
    assert bucket.as_of(101.0, 60).remaining == 1


def test_a_lower_limit_counts_at_once_and_a_higher_one_fills_faster():
    bucket = Bucket.full(100, 0.0)
    assert bucket.as_of(0.0, 10).remaining == 10
    assert bucket.less(100).as_of(30.0, 600).remaining == 300
