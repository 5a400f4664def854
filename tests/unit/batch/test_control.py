"""What a runner is told, also by files that are not quite right."""

from __future__ import annotations

import pytest

from batch.control import ALLOWANCE_AGE_S, NEWS_AGE_S, Control, Load


def test_without_words_nobody_wants_anything():
    control = Control.from_wire({})
    assert control == Control(cancel=False, share=1.0, concurrency=None, expires_at=None)
    assert not control.expired(1e12)


def test_all_words_are_read():
    wire = {"cancel": True, "share": 0.25, "concurrency": 9, "expires_at": 100.5}
    control = Control.from_wire(wire)
    assert control == Control(cancel=True, share=0.25, concurrency=9, expires_at=100.5)
    assert not control.expired(100.4)
    assert control.expired(100.5)


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"cancel": "yes"}, Control()),
        ({"share": 7}, Control(share=1.0)),
        ({"share": -1}, Control(share=0.0)),
        ({"share": True}, Control()),
        ({"concurrency": 0}, Control(concurrency=1)),
        ({"expires_at": float("nan")}, Control()),
    ],
)
def test_a_word_that_is_none_of_its_kind_is_as_if_it_were_not_there(
    wire: dict[str, object], expected: Control
):
    assert Control.from_wire(wire) == expected


@pytest.mark.parametrize(
    ("said", "allowance"), [(0.3, 0.3), (0, 0.0), (2, 1.0), (-1, 0.0), ("x", 1.0), (None, 1.0)]
)
def test_callers_leave_a_part_over(said: object, allowance: float):
    wire = {"interactive": 4, "at": 999.0, "allowance": said}
    assert Load.from_wire(wire, now=1000.0) == Load(interactive=4, allowance=allowance)


def test_without_news_there_are_no_interactive_requests():
    assert Load.from_wire(None, now=1000.0) == Load(interactive=0)


def test_fresh_news_are_believed():
    assert Load.from_wire({"interactive": 4, "at": 999.0}, now=1000.0) == Load(interactive=4)
    assert Load.from_wire({"interactive": 0, "at": 999.0}, now=1000.0) == Load(interactive=0)


@pytest.mark.parametrize("wire", [{"interactive": 0, "at": 1000.0 - NEWS_AGE_S - 1}, {}])
def test_after_old_news_there_may_be_some(wire: dict[str, object]):
    assert Load.from_wire(wire, now=1000.0) == Load(interactive=1)


def test_what_callers_left_over_holds_while_nobody_tells_anything_else():
    wire = {"interactive": 3, "at": 1000.0 - NEWS_AGE_S - 1, "allowance": 0.1}
    assert Load.from_wire(wire, now=1000.0) == Load(interactive=3, allowance=0.1)
    del wire["at"]
    assert Load.from_wire(wire, now=1000.0) == Load(interactive=3, allowance=0.1)


def test_what_callers_left_over_long_ago_holds_no_batch_back_for_ever():
    wire = {"interactive": 3, "at": 1000.0 - ALLOWANCE_AGE_S - 1, "allowance": 0.0}
    assert Load.from_wire(wire, now=1000.0) == Load(interactive=3)
