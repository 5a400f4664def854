"""What becomes of a batch when its site speaks, is silent, or does not know it. Pure."""

from __future__ import annotations

import time
from dataclasses import replace

from compute_functions.contract.batches import BatchReport, BatchState, LineError
from resource_server.domain.batches import Batch, BatchStatus, Stage, way_to

#: A site that is silent about a batch for so long after its time is not waited for (seconds).
EXPIRY_GRACE_S = 3600.0
#: Nor is one that speaks of it, and never of its end, as if nobody there saw to it any more.
SPOKEN_GRACE_S = 86_400.0
UNREACHABLE = "site unreachable"
NO_CLUSTER = "the cluster is not in the catalog"
NO_FILES = "the gateway's disk for files cannot be used"
#: Results that are too large to be fetched, and that no folder of the cluster has, stay in its
#: spool for so long (seconds): its operators can hand them over.
LEFT_THERE_S = 7 * 86_400.0
#: A site that is away for longer is not told any more that a batch is over (seconds).
FORGET_WITHIN_S = 7 * 86_400.0
_NOT_FETCHED = "It was done, and its results could not be fetched from the site."
_NOT_IN_TIME = "The site could not be reached in time."
_NOT_ENDED = "The site did not end it in time."

#: The status that a batch is to have while its site says this, where it can have it.
_STATUSES = {
    BatchState.RECEIVING: BatchStatus.VALIDATING,
    BatchState.VALIDATING: BatchStatus.VALIDATING,
    BatchState.WAITING: BatchStatus.IN_PROGRESS,
    BatchState.RUNNING: BatchStatus.IN_PROGRESS,
    BatchState.FINALIZING: BatchStatus.FINALIZING,
    # What it left is on its way.
    BatchState.COMPLETED: BatchStatus.FINALIZING,
    BatchState.EXPIRED: BatchStatus.FINALIZING,
    BatchState.CANCELLED: BatchStatus.CANCELLING,
}
_ENDS = {
    BatchState.COMPLETED: BatchStatus.COMPLETED,
    BatchState.EXPIRED: BatchStatus.EXPIRED,
    BatchState.CANCELLED: BatchStatus.CANCELLED,
    BatchState.FAILED: BatchStatus.FAILED,
}


def taken(batch: Batch, report: BatchReport, *, now: float) -> Batch:
    """Return what a batch is once its site has said this of it.

    A report that is older than what is known moves nothing back.
    """
    if batch.status.final or batch.stage is Stage.FETCHING:
        return batch
    told = replace(batch, report=report, waits="")
    if report.state.final:
        return _over_there(told, report, now=now)
    if now > batch.expires_at + SPOKEN_GRACE_S:
        return too_late(told, now=now, reason=_NOT_ENDED)
    # An input of its own the site takes by itself.
    ours = report.state is BatchState.RECEIVING and batch.order.upload is not None
    told = replace(told, stage=Stage.SENDING if ours else Stage.THERE)
    return _towards(told, _STATUSES[report.state], now=now)


def unmentioned(batch: Batch, *, now: float) -> Batch:
    """Return what a batch is that its site neither tells of nor does not know: as it was.

    It may be unable to read it, which may last.
    """
    return kept_waiting(batch, batch.waits, now=now)


def ended(batch: Batch, *, now: float, left_there: str = "") -> Batch:
    """Return a batch whose site has ended it, once all that is fetched is here.

    `left_there` says what is not, and why.
    """
    if batch.report is None or not batch.report.state.final:
        raise ValueError("the site has not ended the batch")
    end = _ENDS[batch.report.state]
    return replace(_towards(batch, end, now=now), stage=Stage.FORGETTING, waits=left_there)


def left_there(report: BatchReport, *, most_bytes: int, now: float) -> str:
    """Return in words which results are too large to be fetched, and where they are, or nothing."""
    sums = (("answers", report.output), ("lines without one", report.error_file))
    large = [
        f"The file of the {what} has {one.bytes} bytes"
        for what, one in sums
        if one is not None and one.bytes > most_bytes
    ]
    if not large:
        return ""
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now + LEFT_THERE_S))
    where = (
        "No folder of the cluster was named for it. "
        f"The cluster's operators can hand over what {report.batch} left, until {until}; "
        "then it is removed. Take smaller batches, or name a folder."
    )
    if report.results_path is not None:
        where = f"The results are at the cluster: {report.results_path}"
    return f"{'. '.join(large)}. The gateway fetches files of at most {most_bytes} bytes. {where}"


def refused(batch: Batch, reason: str, *, now: float, errors: tuple[LineError, ...] = ()) -> Batch:
    """Return a batch that cannot be done, and why; whatever its site has of it goes."""
    report = BatchReport(
        batch=batch.id,
        state=BatchState.FAILED,
        error_count=len(errors),
        errors=errors,
        reason=reason,
    )
    failed = replace(batch, report=report, stage=Stage.FORGETTING, waits="")
    return failed.moved(BatchStatus.FAILED, at=now)


def never_begun(batch: Batch, *, now: float) -> Batch:
    """Return a batch that somebody wants cancelled, and of which no site has said anything yet.

    The site may know of it all the same, so it is told to forget it; it takes no order after that.
    """
    stopped = replace(batch, stage=Stage.FORGETTING, waits="")
    return stopped.moved(BatchStatus.CANCELLED, at=now)


def forgotten_by_its_site(batch: Batch) -> Batch:
    """Return a batch that its site does not know any more: it is handed in again."""
    return replace(batch, stage=Stage.UNTOLD)


def kept_waiting(batch: Batch, reason: str, *, now: float) -> Batch:
    """Return a batch whose next step cannot be done now; if its time is long over, it has expired.

    A batch that its site has ended is not given up so soon: what it left can still be fetched.
    """
    if batch.stage is Stage.FETCHING and may_be_left(batch, now=now):
        return refused(batch, _NOT_FETCHED, now=now)
    overdue = now > batch.expires_at + _grace_s(batch)
    if overdue and not batch.status.final and batch.stage is not Stage.FETCHING:
        return too_late(batch, now=now)
    return replace(batch, waits=reason)


def too_late(batch: Batch, *, now: float, reason: str = _NOT_IN_TIME) -> Batch:
    """Return a batch whose site has not heard of it, or not said its end, in time."""
    expired = replace(batch, stage=Stage.FORGETTING, waits=reason)
    return expired.moved(BatchStatus.EXPIRED, at=now)


def may_be_forgotten(batch: Batch, *, now: float) -> bool:
    """Tell whether a batch that is over may be removed at its site: not while it alone has results.

    Those of which nobody else has a copy stay for a while.
    """
    report = batch.report
    if report is None or report.results_path is not None:
        return True
    files = ((report.output, batch.output_file_id), (report.error_file, batch.error_file_id))
    are_here = all(left is None or file_id is not None for left, file_id in files)
    ends = (batch.completed_at, batch.failed_at, batch.expired_at, batch.cancelled_at)
    return are_here or now >= max(filter(None, ends), default=0.0) + LEFT_THERE_S


def may_be_left(batch: Batch, *, now: float) -> bool:
    """Tell whether a batch that is over need not be forgotten by its site: it is away for good.

    What stays there for a while can be forgotten only after that.
    """
    then = now - FORGET_WITHIN_S
    return then > batch.expires_at and may_be_forgotten(batch, now=then)


def _grace_s(batch: Batch) -> float:
    """Return for how long the site's own word is awaited: one that was told nothing has none."""
    return 0.0 if batch.report is None else EXPIRY_GRACE_S


def _over_there(batch: Batch, report: BatchReport, *, now: float) -> Batch:
    if report.state is BatchState.FAILED or not _leaves_files(batch, report):
        return ended(batch, now=now)
    on_its_way = replace(batch, stage=Stage.FETCHING)
    return _towards(on_its_way, _STATUSES[report.state], now=now)


def _leaves_files(batch: Batch, report: BatchReport) -> bool:
    """Tell whether something is to be fetched: what the site could put nowhere is in any case."""
    wanted = batch.fetches or report.results_path is None
    return wanted and not (report.output is None and report.error_file is None)


def _towards(batch: Batch, status: BatchStatus, *, now: float) -> Batch:
    """Return the batch with that status if a way leads there, else with its own."""
    if way_to(batch.status, status) is None:
        return batch
    return batch.moved(status, at=now)
