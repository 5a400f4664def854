"""Batches in ALCF's shapes (docs/users/batches.md); where names clash with OpenAI's, ALCF's win."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from resource_server.api.batch_objects import batch_object
from resource_server.domain.batches import Batch
from resource_server.services.batches import BatchResult


def created(batch: Batch) -> dict[str, Any]:
    """Return what somebody is told who has asked for a batch."""
    return one(batch) | {"task_ids": ""}


def one(batch: Batch) -> dict[str, Any]:
    """Return a batch, with what OpenAI's object says beside."""
    return batch_object(batch) | item(batch)


def item(batch: Batch) -> dict[str, Any]:
    """Return a batch as ALCF lists it."""
    return {
        "batch_id": batch.id,
        "id": batch.id,
        "cluster": batch.cluster,
        "framework": batch.order.framework,
        "input_file": batch.order.input_path or batch.input_file_id,
        "created_at": _date(batch.created_at),
        "in_progress_at": _date(batch.in_progress_at),
        "completed_at": _date(batch.completed_at),
        "failed_at": _date(batch.failed_at),
        "status": batch.alcf_status.value,
    }


def result(found: BatchResult) -> dict[str, Any]:
    """Return what a batch left. Of an upload the results are files of the gateway."""
    metrics = found.metrics
    return {
        "results_file": found.results_file,
        "progress_file": found.progress_file,
        "metrics": {
            "response_time": metrics.response_time,
            "throughput_tokens_per_second": metrics.throughput_tokens_per_second,
            "total_tokens": metrics.total_tokens,
            "num_responses": metrics.num_responses,
            "lines_processed": metrics.lines_processed,
        },
        "output_file_id": found.batch.output_file_id,
        "error_file_id": found.batch.error_file_id,
    }


def _date(at: float | None) -> str | None:
    """Return a time as ALCF writes it: `2025-02-20 18:39:58.049584+00:00`."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="microseconds")
