"""A batch whose engine dies, alone at its site: how soon it goes on once the next one is ready."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from lifecycle_parts import accidents
from lifecycle_parts.stand import COLD
from lifecycle_parts.watching import ready, until

from batch_parts.deaths import people
from batch_parts.deaths.diary import Asked, Diary
from batch_parts.deaths.stand import Stand
from lab import lifecycle_engine
from lab.slurm_sites.site import SlurmSite

_WITHIN_S = 180.0
_LINES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """How long after an engine had loaded it was asked a line (seconds).

    `of_site_s` of that passed before the instance was ready, as the site sees it: it asks its
    engine every half second, and then for an answer.
    """

    seconds: float
    of_site_s: float


async def resumes(stand: Stand, number: int) -> list[Resume]:
    """Begin a batch of the model that nobody else wants, kill its engine so often, and cancel it.

    The first one is the batch's beginning.
    """
    source = stand.running.folder / "resumed.jsonl"
    await asyncio.to_thread(people.write_input, source, COLD, _LINES)
    diary = stand.diary(COLD)
    async with people.client(stand) as openai:
        batch = await people.submit(openai, source)
        found = [await _resumed(stand.site, diary, above=0)]
        for _ in range(number):
            epoch = max(one.epoch for one in diary.asked)
            _kill_engine(stand.site)
            found.append(await _resumed(stand.site, diary, above=epoch))
        await openai.batches.cancel(batch.id)
        await people.ended(openai, batch.id, within_s=_WITHIN_S)
    return found


async def _resumed(site: SlurmSite, diary: Diary, *, above: int) -> Resume:
    def asked() -> Asked | None:
        return diary.first(above=above)

    first = await until(asked, what="the first line is asked", within_s=_WITHIN_S)
    instance = await until(lambda: ready(site, COLD), what="an instance is ready")
    loaded_at = max(at for at in diary.loaded if at <= first.at)
    ready_at = site.registration(instance.name).ready_at or first.at
    return Resume(seconds=first.at - loaded_at, of_site_s=ready_at - loaded_at)


def _kill_engine(site: SlurmSite) -> None:
    instance = ready(site, COLD)
    name = Path(lifecycle_engine.__file__).name
    found = accidents.processes_on(site, instance.host, name, COLD) if instance else []
    if not found:
        raise accidents.NotThere(f"an engine of {COLD}")
    for pid in found:
        os.kill(pid, signal.SIGKILL)
