"""The batch while one after the other is killed: when it went on, and what was recorded then."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from batch_parts.deaths.trial import Trial
from batch_parts.deaths.victims import VICTIMS

#: Between two deaths so many lines are recorded, and then it is a matter of chance (seconds).
LINES_BETWEEN, LONGEST_PAUSE_S = 10, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Who died, and after how long a line was asked again, by whoever had to come (seconds).

    Without an agent at the site nobody could have a batch go on elsewhere.
    """

    victim: str
    again_s: float
    without_agent: bool = False


async def ordeal(trial: Trial, victims: Sequence[str], chance: random.Random) -> list[Death]:
    """Kill all of them in this order. Raises `TimeoutError` if the batch does not go on."""
    return [await _death(trial, victim, chance) for victim in victims]


async def _death(trial: Trial, name: str, chance: random.Random) -> Death:
    await trial.gone_on(LINES_BETWEEN)
    await asyncio.sleep(chance.random() * LONGEST_PAUSE_S)
    victim, seen = VICTIMS[name], await trial.running()
    without_agent = trial.stand.site.agent() is None
    await victim.kill(trial, seen)
    died_at = time.time()
    await asyncio.to_thread(trial.look)
    above = seen.epoch if victim.ends_runner else 0
    asked = await trial.until(
        lambda: trial.diary.first(after=died_at, above=above), what=f"a line after the {name}'s end"
    )
    found = Death(victim=name, again_s=asked.at - died_at, without_agent=without_agent)
    print(f"  {name}: the batch went on after {found.again_s:.1f} s", flush=True)
    return found
