"""Use fades, is charged once, and is divided by weight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_functions.batch_keeper.shares import HALF_LIFE_S, Recorded, Shares


def recorded(units: int, *, batch: str = "b", owner: str = "ann", weight: float = 1.0) -> Recorded:
    return Recorded(batch=batch, share_of=owner, weight=weight, units=units)


def test_use_is_halved_every_hour() -> None:
    shares = Shares(at=0.0).charge([recorded(1_000)], now=10.0)
    assert shares.of("ann") == 1_000
    later = shares.charge([recorded(1_000)], now=10.0 + HALF_LIFE_S)
    assert later.of("ann") == pytest.approx(500)
    assert later.charge([recorded(1_000)], now=10.0 + 30 * HALF_LIFE_S).use == {}


def test_a_larger_weight_makes_less_of_the_same_use() -> None:
    shares = Shares().charge(
        [recorded(100, weight=4.0), recorded(100, batch="c", owner="bob")], now=1.0
    )
    assert (shares.of("ann"), shares.of("bob"), shares.of("nobody")) == (25, 100, 0)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_whatever_order_words_come_in_each_token_is_charged_once(told: list[int]) -> None:
    shares = Shares(at=5.0)
    for units in told:
        shares = shares.charge([recorded(units)], now=5.0)
        shares = Shares.from_wire(shares.to_wire())
    assert shares.of("ann") == max(told)


def test_batches_that_are_gone_are_forgotten_and_their_use_is_not() -> None:
    shares = Shares().charge([recorded(100)], now=1.0).charge([], now=1.0)
    assert (dict(shares.charged), shares.of("ann")) == ({}, 100)


def test_a_clock_that_was_set_back_makes_nobodys_use_grow() -> None:
    shares = Shares().charge([recorded(100)], now=10_000.0)
    assert shares.charge([recorded(100)], now=1.0).of("ann") == 100


@pytest.mark.parametrize("wire", [None, [], {}, {"at": 1}, {"at": "x", "use": {}, "charged": {}}])
def test_of_a_damaged_file_nothing_is_known(wire: object) -> None:
    assert Shares.from_wire(wire) == Shares()
