"""Sees to the batches of one cluster, so that one site's trouble holds up no other's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from compute_functions.contract.batches import MOST_FILE
from resource_server.batch_ports import BatchObserver, BatchTable, StoredBytes
from resource_server.domain import batch_progress, errors
from resource_server.domain.batches import Batch, BatchStatus, Stage
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.ports import SiteCalls, Tenure
from resource_server.services.batch_duties.carry import Carry, Turn
from resource_server.services.batch_duties.ledger import Ledger
from resource_server.services.batch_duties.loops import one_error, rounds, rung
from resource_server.services.batch_duties.site_batches import SiteBatches
from resource_server.services.batch_duties.talk import Talk

log = logging.getLogger(__name__)

#: After trouble, so long a pause (seconds).
PAUSE_S = 10.0
#: With nothing to do, a look at the rows that somebody may have forgotten to tell of (seconds).
IDLE_S = 30.0
#: So many files of one site travel at once.
CARRIED_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What batches are seen to with. `trouble_pause_s` is how long a site in trouble is left.

    A result of more than `most_result_bytes` is not fetched.
    """

    table: BatchTable
    disk: StoredBytes
    calls: SiteCalls
    catalog: Callable[[], Catalog]
    clock: Callable[[], float]
    trouble_pause_s: float = PAUSE_S
    most_result_bytes: int = MOST_FILE
    observer: BatchObserver | None = None


class SiteWorker:
    """One cluster's worker, for one tenure."""

    def __init__(self, cluster: str, means: Means, tenure: Tenure) -> None:
        self._name = cluster
        self._means = means
        self._ledger = Ledger(means.table, tenure, cluster=cluster, observer=means.observer)
        self._talk = Talk(self._ledger, clock=means.clock)
        self._carry = Carry(
            self._ledger,
            means.disk,
            clock=means.clock,
            most_result_bytes=means.most_result_bytes,
        )
        self._bell = asyncio.Event()
        self._load = asyncio.Event()
        #: Until when (by the loop's clock) batches are left alone whose files did not come on.
        self._held_up: dict[str, float] = {}

    def ring(self) -> None:
        """Have the site spoken with at once: somebody has made or cancelled a batch."""
        self._bell.set()

    async def run(self) -> None:
        """Talk and carry beside each other, for ever; raises `LeaseLost`."""
        with one_error():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(rounds("batches-talk", self._talk_round))
                tasks.create_task(rounds("batches-carry", self._carry_round))

    async def _talk_round(self) -> None:
        """Talk about what there is, and wait for the next time."""
        self._bell.clear()
        batches = await self._ledger.live()
        pause_s = await self._talked(batches) if batches else IDLE_S
        left = await self._ledger.live()
        if any(map(_has_load, left)):
            self._load.set()
        if any(one.stage is Stage.UNTOLD and not one.waits for one in left):
            # There were more than one round hands in, or there is a new one.
            self._bell.set()
        await rung(self._bell, within_s=pause_s)

    async def _talked(self, batches: Iterable[Batch]) -> float:
        """Talk with the site; return how long to wait until the next time."""
        cluster = self._cluster()
        if cluster is None:
            await self._talk.unanswered(batches, batch_progress.NO_CLUSTER)
            return self._means.trouble_pause_s
        try:
            await self._talk.round(SiteBatches(self._means.calls, cluster), batches)
        except errors.DatabaseUnavailable:
            raise
        except errors.UpstreamError as error:
            log.info("batches_wait", extra={"cluster": self._name, "reason": error.message})
            await self._talk.unanswered(await self._ledger.live(), batch_progress.UNREACHABLE)
            return self._means.trouble_pause_s
        return self._means.calls.pause_s(cluster)

    async def _carry_round(self) -> None:
        """Carry something of each batch that has files to carry; wait while there is none."""
        await self._load.wait()
        # What is shown from now on is looked at in the next round.
        self._load.clear()
        cluster = self._cluster()
        if cluster is None:
            return
        loads = [one for one in await self._ledger.live() if _has_load(one)]
        batches = self._not_held_up(loads)
        turns = await self._turns(SiteBatches(self._means.calls, cluster), batches)
        if Turn.GOES_ON in turns:
            self._load.set()
        elif self._held_up:
            # Sooner, if there is more to carry: what is held up holds up no other.
            await rung(self._load, within_s=self._means.trouble_pause_s)
            self._load.set()

    def _not_held_up(self, batches: Iterable[Batch]) -> list[Batch]:
        """Return those whose turn it may be."""
        now = asyncio.get_running_loop().time()
        self._held_up = {batch: until for batch, until in self._held_up.items() if until > now}
        return [one for one in batches if one.id not in self._held_up]

    async def _turns(self, site: SiteBatches, batches: Iterable[Batch]) -> set[Turn]:
        """Do a turn of each batch, some at once; return how they ended."""
        places = asyncio.Semaphore(CARRIED_AT_ONCE)

        async def turn(batch: Batch) -> Turn:
            async with places:
                ended = await self._carry.turn(site, batch)
            if ended is Turn.HELD_UP:
                pause_s = self._means.trouble_pause_s
                self._held_up[batch.id] = asyncio.get_running_loop().time() + pause_s
            if ended is Turn.OVER:
                # What has come to its end is asked for, or forgotten, at once.
                self._bell.set()
            return ended

        with one_error():
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(turn(batch)) for batch in batches]
        return {one.result() for one in running}

    def _cluster(self) -> Cluster | None:
        return self._means.catalog().clusters.get(self._name)


def _has_load(batch: Batch) -> bool:
    if batch.stage is Stage.SENDING:
        return batch.status is not BatchStatus.CANCELLING
    return batch.stage is Stage.FETCHING
