"""Processes killed with -9 under load, one at a time: what was lost, and how soon all is well."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from lab.slurm_sites.site import SlurmSite
from lifecycle_parts.asked import End, Outcome
from lifecycle_parts.asking import Asker, Question, session
from lifecycle_parts.load import Mix, load
from lifecycle_parts.measures.victims import VICTIMS
from lifecycle_parts.stand import FIRST, HOT, Stand
from lifecycle_parts.watching import LOOK_S, WITHIN_S, alone, jobs

#: So long all is well before, and after (seconds).
CALM_S = 3.0
_MIX = Mix(model=HOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What came of it.

    `jobs` is how many the model has at the site when all is well again, `submitted` how many were
    submitted until then.
    """

    victim: str
    outcome: Outcome
    jobs: int
    submitted: int
    recovered_s: float

    @property
    def hung(self) -> int:
        """How many requests took longer than any may."""
        return self.outcome.count(End.HUNG)

    @property
    def wronged(self) -> int:
        """How many requests ended as they may not."""
        return len(self.outcome.asked) - self.outcome.count(End.WHOLE, *VICTIMS[self.victim].may)

    @property
    def needless(self) -> int:
        """How many jobs were submitted beyond those that replace what died."""
        return max(0, self.submitted - VICTIMS[self.victim].replaces)


async def kill(stand: Stand, victim: str, mix: Mix = _MIX) -> Killed:
    """Kill one process under load; all is well when the model answers and nothing is too much."""
    site = stand.first
    before = _submitted(site)
    async with load(stand.running.base_url(FIRST), stand.token, mix) as callers:
        await asyncio.sleep(CALM_S)
        began = time.monotonic()
        await VICTIMS[victim].killed(stand)
        await alone(site, HOT)
        await _answers(stand)
        recovered_s = time.monotonic() - began
        await asyncio.sleep(CALM_S)
        left = await jobs(site, HOT)
    return Killed(
        victim=victim,
        outcome=callers.outcome,
        jobs=left,
        submitted=_submitted(site) - before,
        recovered_s=recovered_s,
    )


def _submitted(site: SlurmSite) -> int:
    """Return how many jobs of the hot model the site's agents have submitted so far."""
    log = site.agent_log.read_text(encoding="utf-8")
    return log.count(f" INFO submitted instance={HOT.replace('/', '-')}-")


async def _answers(stand: Stand) -> None:
    async with session(stand.token) as opened, asyncio.timeout(WITHIN_S):
        asker = Asker(opened, stand.running.base_url(FIRST))
        while (await asker.ask(Question(model=HOT))).end is not End.WHOLE:  # noqa: ASYNC110 # asking tells
            await asyncio.sleep(LOOK_S)
