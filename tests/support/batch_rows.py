"""Small batches for tests of rows and of what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compute_functions.contract.batches import BatchOrder, BatchReport, BatchState, FileSum
from resource_server.domain import batch_progress
from resource_server.domain.batches import Batch, new_batch_id

NOW = 1_800_000_000.0
SUM = FileSum(bytes=3, sha256="0" * 64)


def order(**changes: Any) -> BatchOrder:
    """Return an order with an upload."""
    made = BatchOrder(
        batch=new_batch_id(),
        model="org/tiny",
        framework="vllm",
        input_path=None,
        upload=SUM,
        input_name="in.jsonl",
        output_folder=None,
        owner=("alice",),
        username="alice@example.org",
        share_of="person:alice",
        weight=1.0,
        endpoint=None,
        most_lines=10,
        most_bytes=1000,
        created_at=NOW,
        expires_at=NOW + 86_400,
    )
    return replace(made, **changes)


def batch(**changes: Any) -> Batch:
    """Return a new batch."""
    made = Batch(order=order(), owner="alice", cluster="site", completion_window="24h")
    return replace(made, **changes)


def report(of: Batch, state: BatchState, **changes: Any) -> BatchReport:
    """Return what a site says of a batch."""
    return replace(BatchReport(batch=of.id, state=state), **changes)


def ended(made: Batch, state: BatchState = BatchState.COMPLETED) -> Batch:
    """Return the batch once it is over."""
    return batch_progress.taken(made, report(made, state), now=NOW + 1)
