"""One batch through real parts, all of which die meanwhile: each line has its record, once.

In small what `benchmarks/batches.py --only kills` measures; nothing here depends on how fast
anything is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_parts.deaths.stand import stand
from batch_parts.deaths.victims import VICTIMS, drawn
from batch_parts.deaths.whole import survived

from batch.concurrency import LONG_START

pytestmark = pytest.mark.timeout(480)

#: Without it nobody starts an agent for half a minute. The benchmark kills it, too.
ELSEWHERE = "endpoint"
KINDS = [name for name in VICTIMS if name != ELSEWHERE]


@pytest.mark.row("C-43", "C-58")
async def test_whatever_dies_each_line_has_one_record_and_none_is_asked_again(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(6)  # noqa: S311 - moments, not secrets
    # Whoever kills a controller need not wait for long.
    async with stand(tmp_path, controller_lease_s="2") as running:
        found = await survived(running, drawn(len(KINDS), chance, KINDS), chance)

    said = found.verdict
    record_property("again_s", {one.victim: round(one.again_s, 1) for one in found.deaths})
    assert {one.victim for one in found.deaths} == set(KINDS)
    assert (said.missing, said.doubled, said.failed, said.strange, said.changed) == (0,) * 5
    assert said.again == 0
    assert said.miscounted == ()
    # The runner that was stopped, taken over, and woken up.
    slept = found.slept
    # Lines that were waiting for a connection when it was stopped are asked when it wakes up.
    assert (slept.status, slept.wrote) == (5, 0)
    assert slept.asked <= LONG_START
    assert (found.runners, found.jobs) == (0, 2)
