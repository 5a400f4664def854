"""What a runner tells of a batch before it has read what is recorded."""

from __future__ import annotations

import pytest

from batch.progress import Stage
from batch.standing import Standing

TOLD = {
    "total": 16,
    "recorded": 9,
    "completed": 7,
    "failed": 2,
    "use": {"input_tokens": 21, "cached_tokens": 1, "output_tokens": 28, "reasoning_tokens": 2},
    "working_s": 12.5,
    "resumed": 3,
    "started_at": 1_000.0,
}


def test_it_tells_what_was_told_last_and_hands_that_on() -> None:
    """Runners may end one after the other before any of them has read the journal."""
    first = Standing(4, TOLD).progress()
    for progress in (first, Standing(5, first.to_wire()).progress()):
        wire = progress.to_wire()
        assert {name: wire[name] for name in TOLD} == TOLD
        assert (progress.stage, progress.rate, progress.left_s) == (Stage.VALIDATING, None, None)


@pytest.mark.parametrize("value", [None, "x", -1, True, 1.5, [1]])
def test_counts_that_are_none_are_not_kept(value: object) -> None:
    progress = Standing(4, {"total": value, "completed": value, "use": value}).progress()
    assert (progress.total, progress.completed, progress.use.total_tokens) == (0, 0, 0)
