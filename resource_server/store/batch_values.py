"""How a batch stands in its row."""

from __future__ import annotations

import json
from typing import Any

from compute_functions.contract.batches import BatchOrder, BatchReport
from resource_server.domain.batches import Batch, BatchStatus, Stage
from resource_server.store.batch_models import BatchRow

#: What stands in a column of the same name.
_PLAIN = (
    "cluster",
    "completion_window",
    "fetches",
    "keep_s",
    "status",
    "stage",
    "waits",
    "in_progress_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)
#: Likewise, with nothing for none.
_IDS = ("input_file_id", "output_file_id", "error_file_id")


def values_of(batch: Batch) -> dict[str, Any]:
    """Return a batch's columns, without what never changes and without its version."""
    return {
        **{name: getattr(batch, name) for name in _PLAIN},
        **{name: getattr(batch, name) or "" for name in _IDS},
        "metadata": dict(batch.metadata),
        "order": json.dumps(batch.order.to_wire()),
        "report": "" if batch.report is None else json.dumps(batch.report.to_wire()),
        "answered": batch.answered,
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
    }


def read_batch(row: BatchRow) -> Batch:
    """Return the batch of a row."""
    plain: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
    plain |= {name: getattr(row, name) or None for name in _IDS}
    plain |= {"status": BatchStatus(row.status), "stage": Stage(row.stage)}
    return Batch(
        order=BatchOrder.from_wire(json.loads(row.order)),
        owner=row.owner,
        metadata=row.metadata,
        version=row.version,
        report=BatchReport.from_wire(json.loads(row.report)) if row.report else None,
        **plain,
    )
