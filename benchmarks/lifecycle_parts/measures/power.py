"""A node that loses its power under load: what was on it, and when all is as desired again."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lifecycle_parts.asked import Asked, End, Outcome
from lifecycle_parts.asking import Question
from lifecycle_parts.load import Mix, load
from lifecycle_parts.stand import HOT, HOT_LOAD_S, Stand
from lifecycle_parts.watching import alone, ready, successor, until

#: So long all is well before, and after (seconds).
CALM_S = 4.0
_MIX = Mix(model=HOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerCut:
    """What came of it.

    `after` was asked at once afterwards, when nobody had noticed yet; `moved` answers were whole
    though they were under way at the moment, `honest` ones said that they broke off. `again_s` is
    until as many instances were ready as are desired, less the time of loading.
    """

    outcome: Outcome
    node: str
    after: Asked
    moved: int
    honest: int
    again_s: float


async def power_cut(stand: Stand, mix: Mix = _MIX) -> PowerCut:
    """Cut the power of the node on which the first site's instance is; the second one serves.

    The node stays off.
    """
    site = stand.first
    old = await until(lambda: ready(site, HOT), what="an instance is ready")
    async with load(stand.running.base_url(), stand.token, mix) as callers:
        await _calm()
        cut = time.monotonic()
        await site.cluster.power_off(old.host)
        after = await callers.asker.ask(Question(model=HOT))
        await until(lambda: successor(site, HOT, of=old.name), what="it is replaced")
        again = time.monotonic() - cut
        await _calm()
    at_the_moment = callers.outcome.within(cut, cut)
    return PowerCut(
        outcome=callers.outcome,
        node=old.host,
        after=after,
        moved=at_the_moment.count(End.WHOLE),
        honest=at_the_moment.count(End.HONEST),
        again_s=again - HOT_LOAD_S,
    )


async def power_on(stand: Stand, node: str) -> None:
    """Switch a node on again, and wait until all is as desired."""
    await stand.first.cluster.power_on(node)
    await alone(stand.first, HOT)


async def _calm() -> None:
    over = time.monotonic() + CALM_S
    await until(lambda: time.monotonic() > over, what="a calm time")
