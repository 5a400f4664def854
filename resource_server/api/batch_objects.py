"""Batches as JSON: OpenAI's object, with what else is known of a batch."""

from __future__ import annotations

from typing import Any

from compute_functions.contract.batches import BatchUse, LineError
from resource_server.domain.batches import Batch, BatchStatus

#: OpenAI's times of a batch that may not have come yet.
_TIMES = (
    "in_progress_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)


def batch_object(batch: Batch) -> dict[str, Any]:
    """Return a batch as OpenAI's clients read it; what they do not know is kept by them, too."""
    return _ours(batch) | {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.order.model or None,
        "errors": _errors(batch),
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.status.value,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.expires_at),
        **{name: _whole(getattr(batch, name)) for name in _TIMES},
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": _usage(batch.use),
        "metadata": dict(batch.metadata) or None,
    }


def _ours(batch: Batch) -> dict[str, Any]:
    """Return what OpenAI's object has no names for: where it is done, and how fast."""
    report = batch.report
    return {
        "batch_id": batch.id,
        "cluster": batch.cluster or None,
        "framework": batch.order.framework or None,
        "input_file": batch.order.input_path,
        "output_folder_path": batch.order.output_folder,
        "results_file": report.results_path if report else None,
        "progress_file": report.progress_path if report else None,
        "reason": batch.reason or None,
        "lines_per_second": report.lines_per_s if report else None,
        "estimated_seconds_left": report.left_s if report else None,
    }


def _errors(batch: Batch) -> dict[str, Any] | None:
    """Return the mistakes of a batch's input; of one that failed otherwise, why."""
    found = batch.errors
    if not found and batch.status is BatchStatus.FAILED:
        found = (LineError(code="batch_failed", message=batch.reason or "The batch has failed."),)
    if not found:
        return None
    return {"object": "list", "data": [error.to_wire() for error in found]}


def _usage(use: BatchUse) -> dict[str, Any]:
    return {
        "input_tokens": use.input_tokens,
        "input_tokens_details": {"cached_tokens": use.cached_tokens},
        "output_tokens": use.output_tokens,
        "output_tokens_details": {"reasoning_tokens": use.reasoning_tokens},
        "total_tokens": use.input_tokens + use.output_tokens,
    }


def _whole(at: float | None) -> int | None:
    return None if at is None else int(at)
