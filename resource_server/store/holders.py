"""Whoever has files or batches, one transaction of theirs at a time."""

from __future__ import annotations

from resource_server.domain import errors
from resource_server.store.batch_models import HolderRow

#: The controller removes rows of people who have nothing; between two statements here, once.
_TRIES = 3


def lock_holder(owner: str) -> None:
    """Let no other transaction count or add what somebody has until this one ends.

    It belongs at the beginning of the transaction.
    """
    for _ in range(_TRIES):
        # Made first, for two that begin at once: one of them waits for the other.
        HolderRow.objects.bulk_create([HolderRow(owner=owner)], ignore_conflicts=True)
        if HolderRow.objects.select_for_update().filter(owner=owner).first() is not None:
            return
    raise errors.DatabaseUnavailable
