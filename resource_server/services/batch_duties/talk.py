"""One round of talk with a site about its batches: hand in, ask, cancel, have forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from compute_functions.contract.batches import BatchVerb
from resource_server.domain import batch_progress, errors
from resource_server.domain.batches import Batch, BatchStatus, Stage
from resource_server.services.batch_duties.ledger import Ledger
from resource_server.services.batch_duties.site_batches import SiteBatches, SiteSays

#: In one round so many batches are handed in: others want to know how theirs are.
HANDED_IN_AT_ONCE = 10
_ASKED = (Stage.SENDING, Stage.THERE)
_WAITING = (Stage.UNTOLD, *_ASKED, Stage.FETCHING)


class Talk:
    """Talks about one cluster's batches. All that it does may be done again."""

    def __init__(self, ledger: Ledger, *, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._turned = 0

    async def round(self, site: SiteBatches, batches: Iterable[Batch]) -> None:
        """Say to the site all that is due, and write down what it says.

        Raises an `UpstreamError` if it does not answer; then nothing of what was written is lost.
        """
        found = tuple(batches)
        # What people wait for most is said first.
        await self._ask(site, BatchVerb.CANCEL, [one for one in found if _is_to_cancel(one)])
        for batch in self._to_hand_in(found):
            await self._hand_in(site, batch)
        await self._ask(site, BatchVerb.REPORT, [one for one in found if _is_to_report(one)])
        now = self._clock()
        await self._forget(site, [one for one in found if _is_to_forget(one, now)])

    async def unanswered(self, batches: Iterable[Batch], reason: str) -> None:
        """Write down that nothing can be done for batches now, and why."""
        now = self._clock()
        for batch in batches:
            if batch.stage in _WAITING:
                after = batch_progress.kept_waiting(batch, reason, now=now)
                await self._write(batch, after)
            elif batch.stage is Stage.FORGETTING and batch_progress.may_be_left(batch, now=now):
                await self._write(batch, replace(batch, stage=Stage.DONE))

    def _to_hand_in(self, batches: Iterable[Batch]) -> list[Batch]:
        """Return some that are to be handed in: new ones, then those put off, each in its turn."""
        untold = [one for one in batches if one.stage is Stage.UNTOLD]
        put_off = deque(one for one in untold if one.waits)
        put_off.rotate(-self._turned)
        self._turned += HANDED_IN_AT_ONCE
        new = [one for one in untold if not one.waits]
        return [*new, *put_off][:HANDED_IN_AT_ONCE]

    async def _hand_in(self, site: SiteBatches, batch: Batch) -> None:
        now = self._clock()
        if batch.status is BatchStatus.CANCELLING:
            await self._write(batch, batch_progress.never_begun(batch, now=now))
        elif now >= batch.expires_at:
            await self._write(batch, batch_progress.too_late(batch, now=now))
        else:
            self._ledger.require()
            await self._write(batch, await self._submitted(site, batch))

    async def _submitted(self, site: SiteBatches, batch: Batch) -> Batch:
        try:
            report = await site.submit(batch.order)
        except errors.BatchRefusedThere as refusal:
            return batch_progress.refused(batch, refusal.message, now=self._clock())
        except errors.SiteRefusal as refusal:
            # This one's trouble is no other's.
            return batch_progress.kept_waiting(batch, refusal.message, now=self._clock())
        return batch_progress.taken(batch, report, now=self._clock())

    async def _ask(self, site: SiteBatches, verb: BatchVerb, batches: list[Batch]) -> None:
        if not batches:
            return
        self._ledger.require()
        says = await site.say(verb, [batch.id for batch in batches])
        for batch in batches:
            await self._write(batch, self._told(batch, says))

    def _told(self, batch: Batch, says: SiteSays) -> Batch:
        if batch.id in says.unknown:
            return batch_progress.forgotten_by_its_site(batch)
        report, now = says.reports.get(batch.id), self._clock()
        if report is None:
            return batch_progress.unmentioned(batch, now=now)
        return batch_progress.taken(batch, report, now=now)

    async def _forget(self, site: SiteBatches, batches: list[Batch]) -> None:
        if not batches:
            return
        self._ledger.require()
        await site.say(BatchVerb.FORGET, [batch.id for batch in batches])
        for batch in batches:
            await self._write(batch, replace(batch, stage=Stage.DONE))

    async def _write(self, before: Batch, after: Batch) -> None:
        await self._ledger.write(before, after)


def _is_to_cancel(batch: Batch) -> bool:
    return batch.stage in _ASKED and batch.status is BatchStatus.CANCELLING


def _is_to_forget(batch: Batch, now: float) -> bool:
    return batch.stage is Stage.FORGETTING and batch_progress.may_be_forgotten(batch, now=now)


def _is_to_report(batch: Batch) -> bool:
    return batch.stage in _ASKED and batch.status is not BatchStatus.CANCELLING
