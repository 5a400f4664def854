"""A batch from its upload to its results, with all that befalls it, and what is left of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from lifecycle_parts import accidents
from lifecycle_parts.stand import HOT
from lifecycle_parts.watching import alone, jobs

from batch_parts.deaths import people, stand, verdict
from batch_parts.deaths.ordeal import Death, ordeal
from batch_parts.deaths.sleeper import Slept, sleeper
from batch_parts.deaths.stand import Stand
from batch_parts.deaths.trial import trial
from batch_parts.deaths.verdict import Verdict

#: Lines for each death: more than are done until the last one.
LINES_EACH = 250
_WITHIN_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survived:
    """What came of all of it; `runners` and `jobs` are there when the batch is over."""

    deaths: Sequence[Death]
    slept: Slept
    verdict: Verdict
    runners: int
    jobs: int


async def survived(served: Stand, victims: Sequence[str], chance: random.Random) -> Survived:
    """Have a batch done while all of these die, each in its turn."""
    lines = LINES_EACH * len(victims)
    source = served.running.folder / "in.jsonl"
    await asyncio.to_thread(people.write_input, source, HOT, lines)
    served.bound(HOT, stand.SLOWLY)
    async with people.client(served) as openai:
        batch_id = (await people.submit(openai, source)).id
        async with trial(served, batch_id, lines) as under:
            deaths = await ordeal(under, victims, chance)
            slept = await sleeper(under)
            served.bound(HOT, stand.QUICKLY)
            batch = await people.ended(openai, batch_id, within_s=_WITHIN_S)
            output = await people.content(openai, batch.output_file_id)
            errors = await people.content(openai, batch.error_file_id)
            found = await asyncio.to_thread(
                verdict.judged, under, batch, output=output, errors=errors
            )
    await alone(served.site, HOT, number=stand.INSTANCES)
    return Survived(
        deaths=deaths,
        slept=slept,
        verdict=found,
        runners=sum(
            len(accidents.processes_on(served.site, node, "batch run"))
            for node in served.site.cluster.nodes
        ),
        jobs=await jobs(served.site, HOT),
    )
