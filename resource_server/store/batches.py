"""The rows of batches: what people may do with their own, and what the active controller does."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import reduce
from operator import or_

from django.db import transaction
from django.db.models import F, Q, QuerySet

from resource_server.domain import batches, errors
from resource_server.domain.batches import (
    ACTIVE,
    ALCF_WORDS,
    EVERY_BATCH,
    AlcfStatus,
    Batch,
    BatchFilter,
    BatchStatus,
)
from resource_server.domain.files import StoredFile
from resource_server.domain.paging import Page, Paging
from resource_server.store.batch_models import LEFT_TO_DO, BatchRow, FileRow
from resource_server.store.batch_values import read_batch, values_of
from resource_server.store.database import in_database, read_database
from resource_server.store.files import file_row, require_input
from resource_server.store.holders import lock_holder
from resource_server.store.lease import require_fence
from resource_server.store.live_batches import AT_ONCE, LiveBatches
from resource_server.store.pages import page_of


class BatchRows:
    """A `batch_ports.BatchTable`."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._live = LiveBatches()

    async def add(
        self,
        batch: Batch,
        owners: Collection[str],
        *,
        most_active: int,
        key: str | None,
        digest: str,
    ) -> Batch:
        """Add a batch, or return the one that was asked for before with the same key."""
        row = BatchRow(
            batch_id=batch.id,
            owner=batch.owner,
            idempotency_key=key,
            request_digest=digest,
            urgent=not batch.status.final,
            **values_of(batch),
        )
        return await in_database(_add, row, owners, most_active, self._clock())

    async def made(self, owners: Collection[str], key: str | None, digest: str) -> Batch | None:
        """Return the batch that was asked for before with this key, if there is one."""
        return None if key is None else await read_database(_made, owners, key, digest)

    async def page(
        self, owners: Collection[str], paging: Paging, wanted: BatchFilter = EVERY_BATCH
    ) -> Page[Batch]:
        """Return some of a person's batches."""
        return await read_database(_page, owners, paging, wanted)

    async def get(self, owners: Collection[str], batch_id: str) -> Batch:
        """Return a batch, or raise `BatchNotFound`."""
        return await read_database(_get, owners, batch_id)

    async def cancel(self, owners: Collection[str], batch_id: str, *, now: float) -> Batch:
        """Note that somebody wants it cancelled."""
        return await in_database(_cancel, owners, batch_id, now)

    async def clusters(self) -> Collection[str]:
        """Return the clusters that have batches of which something is left to do."""
        return await read_database(_clusters)

    async def urgent(self, fence: int) -> Collection[str]:
        """Return the clusters whose batches people have made or cancelled since the last call."""
        if not await read_database(BatchRow.objects.filter(urgent=True).exists):
            return ()
        return await in_database(_urgent, fence)

    async def live(self, cluster: str) -> Collection[Batch]:
        """Return a cluster's batches of which something is left to do, the oldest first."""
        return await read_database(self._live.read, cluster)

    async def save(self, batch: Batch, fence: int, files: Collection[StoredFile] = ()) -> bool:
        """Write a batch, and the files that it left; False if it has changed since it was read."""
        return await in_database(_save, batch, fence, files)


def _own(owners: Collection[str]) -> QuerySet[BatchRow]:
    return BatchRow.objects.filter(owner__in=owners)


@transaction.atomic
def _add(row: BatchRow, owners: Collection[str], most_active: int, now: float) -> Batch:
    lock_holder(row.owner)
    if row.idempotency_key is not None:
        made = _made(owners, row.idempotency_key, row.request_digest)
        if made is not None:
            return made
    active = _own(owners).filter(cluster=row.cluster, status__in=ACTIVE).count()
    if active >= most_active:
        raise errors.TooManyBatches(
            f"You have {active} batches under way at '{row.cluster}', and {most_active} are "
            "allowed. Wait for one to end, or cancel one."
        )
    if row.input_file_id:
        require_input(owners, row.input_file_id, now=now)
    row.save(force_insert=True)
    return read_batch(row)


def _made(owners: Collection[str], key: str, digest: str) -> Batch | None:
    row = _own(owners).filter(idempotency_key=key).first()
    if row is None:
        return None
    if row.request_digest != digest:
        raise errors.IdempotencyKeyReused
    return read_batch(row)


def _page(owners: Collection[str], paging: Paging, wanted: BatchFilter) -> Page[Batch]:
    rows = _own(owners)
    if wanted.statuses:
        rows = rows.filter(reduce(or_, map(_named, wanted.statuses)))
    if wanted.cluster is not None:
        rows = rows.filter(cluster=wanted.cluster)
    return page_of(rows, _own(owners).filter(batch_id=paging.after), paging, read_batch)


def _named(word: BatchStatus | AlcfStatus) -> Q:
    """Return the condition for batches of which `status`, or `alcf_status`, is this word."""
    if isinstance(word, BatchStatus):
        return Q(status=word)
    plain = [status for status, its in ALCF_WORDS.items() if its is word]
    unanswered = Q(status=BatchStatus.IN_PROGRESS, answered=0)
    named = Q(status__in=plain)
    return named | unanswered if word is AlcfStatus.PENDING else named & ~unanswered


def _get(owners: Collection[str], batch_id: str) -> Batch:
    row = _own(owners).filter(batch_id=batch_id).first()
    if row is None:
        raise batches.no_such_batch()
    return read_batch(row)


@transaction.atomic
def _cancel(owners: Collection[str], batch_id: str, now: float) -> Batch:
    row = _own(owners).select_for_update().filter(batch_id=batch_id).first()
    if row is None:
        raise batches.no_such_batch()
    batch = read_batch(row)
    cancelled = batch.told_to_cancel(at=now)
    if cancelled is not batch:
        for name, value in values_of(cancelled).items():
            setattr(row, name, value)
        row.version += 1
        row.urgent = True
        row.save()
    return read_batch(row)


def _clusters() -> list[str]:
    rows = BatchRow.objects.filter(LEFT_TO_DO)
    return list(rows.order_by().values_list("cluster", flat=True).distinct())


@transaction.atomic
def _urgent(fence: int) -> frozenset[str]:
    require_fence(fence)
    rows = list(BatchRow.objects.select_for_update().filter(urgent=True).only("cluster")[:AT_ONCE])
    BatchRow.objects.filter(pk__in=[row.pk for row in rows]).update(urgent=False)
    return frozenset(row.cluster for row in rows)


@transaction.atomic
def _save(batch: Batch, fence: int, files: Collection[StoredFile]) -> bool:
    require_fence(fence)
    # Whoever was told of it since may have cancelled it: then it is read again.
    read = BatchRow.objects.filter(batch_id=batch.id, version=batch.version)
    if not read.update(version=F("version") + 1, **values_of(batch)):
        return False
    FileRow.objects.bulk_create(map(file_row, files), ignore_conflicts=True)
    return True
