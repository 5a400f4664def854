"""The batches of which something is left to do: of those, only what has changed is read anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from django.db.models import Case, When

from resource_server.domain.batches import Batch, Stage
from resource_server.store.batch_models import LEFT_TO_DO, BatchRow, Word
from resource_server.store.batch_values import read_batch

log = logging.getLogger(__name__)

#: As many batches of one cluster are looked at in one go: more than people are let have.
AT_ONCE = 2_000
#: Those that only are to be forgotten come last: results that nobody else has stay for days.
_LATER = Case(When(stage=Word(Stage.FORGETTING.value), then=1), default=0)


class LiveBatches:
    """What one process has read of them. The active controller asks several times a second.

    Whoever changes a batch gives it another version.
    """

    def __init__(self, *, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        #: By cluster, then by the batch's id.
        self._known: dict[str, Mapping[str, Batch]] = {}

    def read(self, cluster: str) -> list[Batch]:
        """Return a cluster's batches, the oldest first, and then those that are over. It blocks."""
        known = self._known.get(cluster, {})
        live = BatchRow.objects.filter(LEFT_TO_DO, cluster=cluster).order_by(_LATER, "number")
        versions = dict(live.values_list("batch_id", "version")[: self._at_once])
        kept = {
            batch_id: known[batch_id]
            for batch_id, version in versions.items()
            if batch_id in known and known[batch_id].version == version
        }
        found = kept | dict(_read(versions.keys() - kept.keys()))
        self._known[cluster] = found
        return [found[batch_id] for batch_id in versions if batch_id in found]


def _read(batch_ids: set[str]) -> Iterator[tuple[str, Batch]]:
    if not batch_ids:
        return
    for row in BatchRow.objects.filter(batch_id__in=batch_ids):
        if (batch := _readable(row)) is not None:
            yield row.batch_id, batch


def _readable(row: BatchRow) -> Batch | None:
    """Return a row's batch; None for one of another version of ours, which holds up no other."""
    try:
        return read_batch(row)
    except ValueError as error:
        log.error("batch_unreadable", extra={"batch": row.batch_id, "reason": str(error)})  # noqa: TRY400 - the reason is the story
        return None
