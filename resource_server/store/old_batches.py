"""Rows of batches that are long over, and of people who have none: they go, a few at a time."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from resource_server.store.batch_models import ENDED_AT, IS_DONE, BatchRow, FileRow, HolderRow
from resource_server.store.database import in_database
from resource_server.store.lease import require_fence

#: As many rows are removed in one transaction.
AT_ONCE = 200


class OldBatchRows:
    """A `batch_ports.OldBatches`."""

    def __init__(self, *, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once

    async def forget(self, ended_before: float, fence: int) -> int:
        """Remove some batches of which nothing is left; return how many."""
        return await in_database(_forget, ended_before, fence, self._at_once)

    async def forget_holders(self, fence: int) -> int:
        """Remove some of the people who have neither batches nor files; return how many."""
        return await in_database(_forget_holders, fence, self._at_once)


def old(ended_before: float) -> QuerySet[BatchRow]:
    """Return the batches that ended before then, and of which nothing is left, the oldest first."""
    # In any other stage its site may know of it.
    over = BatchRow.objects.filter(IS_DONE).alias(ended_at=ENDED_AT)
    return over.filter(~Exists(_files_of_it()), ended_at__lt=ended_before).order_by("ended_at")


@transaction.atomic
def _forget(ended_before: float, fence: int, at_once: int) -> int:
    require_fence(fence)
    numbers = list(old(ended_before).values_list("number", flat=True)[:at_once])
    removed, _ = BatchRow.objects.filter(number__in=numbers).delete()
    return removed


@transaction.atomic
def _forget_holders(fence: int, at_once: int) -> int:
    require_fence(fence)
    theirs = OuterRef("owner")
    files, batches = FileRow.objects.filter(owner=theirs), BatchRow.objects.filter(owner=theirs)
    empty = HolderRow.objects.filter(~Exists(files), ~Exists(batches))
    owners = list(empty.values_list("owner", flat=True)[:at_once])
    # Who begins to have something just now makes the row again (`holders.lock_holder`).
    removed, _ = HolderRow.objects.filter(owner__in=owners).delete()
    return removed


def _files_of_it() -> QuerySet[FileRow]:
    named = Q()
    for name in ("input_file_id", "output_file_id", "error_file_id"):
        named |= Q(file_id=OuterRef(name))
    return FileRow.objects.filter(named)
