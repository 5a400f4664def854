"""Ends batches that no runner will: whose runners die, and whose input never came."""

from __future__ import annotations

from batch.folder import Folder
from batch.outcome import Outcome, Status
from compute_functions.batch_spool.fate import Fate
from compute_functions.batch_spool.view import BatchView
from compute_functions.contract.batches import BatchState

_LATE = "its time was over before its input had come"


def fail(view: BatchView, reason: str, *, now: float) -> None:
    """Fail a batch that began. An epoch is taken first: whatever runner is left changes nothing."""
    folder = Folder(view.folder.work)
    folder.make()
    epoch = folder.epochs.take()
    progress = view.progress
    folder.put_outcome(
        Outcome(
            status=Status.FAILED,
            total=0 if progress is None else progress.total,
            completed=0 if progress is None else progress.completed,
            failed=0 if progress is None else progress.failed,
            reason=reason,
            model=view.order.model,
            started_at=(progress and progress.started_at) or now,
            ended_at=now,
            epoch=epoch,
        )
    )


def expire(view: BatchView, *, now: float) -> bool:
    """End a batch whose input has not come in its time; says whether it is one."""
    is_late = not view.over and not view.has_input and view.order.expires_at <= now
    if is_late:
        Fate(at=now, ended=BatchState.EXPIRED, reason=_LATE).decide(view.folder)
    return is_late
