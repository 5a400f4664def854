"""What the gateway is told of a batch, from all that the spool says of it."""

from __future__ import annotations

from dataclasses import replace

from batch.progress import Stage
from compute_functions.batch_spool.agent_state import DESK
from compute_functions.batch_spool.fate import Fate
from compute_functions.batch_spool.told import Outcome
from compute_functions.batch_spool.view import BatchView
from compute_functions.contract.batches import MOST_REASON, BatchReport, BatchState


def report(view: BatchView) -> BatchReport:
    """Return a batch's report."""
    if view.outcome is not None:
        return _of_outcome(view, view.outcome)
    if view.fate is not None and view.fate.ended is not None:
        return _of_fate(view, view.fate, view.fate.ended)
    return _under_way(view)


def _plain(view: BatchView, state: BatchState, reason: str = "") -> BatchReport:
    return BatchReport(
        batch=view.order.batch,
        state=state,
        reason=reason[:MOST_REASON],
        model=view.order.model,
        endpoint=view.order.endpoint,
        received=view.received,
    )


def _of_fate(view: BatchView, fate: Fate, ended: BatchState) -> BatchReport:
    """Tell of a batch that ended without beginning."""
    return replace(
        _plain(view, ended, fate.reason),
        endpoint=view.order.endpoint or fate.endpoint,
        total=fate.total,
        error_count=fate.error_count,
        errors=fate.errors,
        progress_path=None if view.delivered is None else view.delivered.progress,
        ended_at=fate.at,
    )


def _of_outcome(view: BatchView, outcome: Outcome) -> BatchReport:
    """Tell of a batch that is over; it is final when its results are where they belong."""
    state, reason = outcome.state, outcome.reason
    delivered = view.delivered
    if view.wants_delivery:
        state, reason = BatchState.FINALIZING, "its results are being put in their place"
    problem = view.place.problem if delivered is None else delivered.problem
    return replace(
        _plain(view, state, reason or problem),
        total=outcome.total,
        completed=outcome.completed,
        failed=outcome.failed,
        error_count=outcome.error_count,
        errors=outcome.errors,
        use=outcome.use,
        endpoint=outcome.endpoint or view.order.endpoint,
        output=outcome.output,
        error_file=outcome.error_file,
        results_path=None if delivered is None else delivered.results,
        progress_path=None if delivered is None else delivered.progress,
        started_at=outcome.started_at,
        ended_at=outcome.ended_at,
        working_s=outcome.working_s,
        lines_per_s=outcome.lines_per_s,
        resumed=outcome.resumed,
    )


def _under_way(view: BatchView) -> BatchReport:
    told = _plain(view, *_stage(view))
    if view.examined is not None:
        told = replace(
            told,
            total=view.examined.total,
            endpoint=view.examined.endpoint or told.endpoint,
        )
    progress = view.progress
    if progress is None:
        return told
    is_running = told.state is BatchState.RUNNING
    return replace(
        told,
        total=progress.total or told.total,
        completed=progress.completed,
        failed=progress.failed,
        use=progress.use,
        started_at=progress.started_at,
        working_s=progress.working_s,
        lines_per_s=progress.lines_per_s if is_running else None,
        left_s=progress.left_s if is_running else None,
        resumed=progress.resumed,
    )


def _stage(view: BatchView) -> tuple[BatchState, str]:
    """Return how far a batch is that is not over, and for what it waits."""
    state = view.state
    if not view.has_input:
        return BatchState.RECEIVING, ""
    if state is None or state.instance is None:
        waits = BatchState.VALIDATING if view.wants_examination else BatchState.WAITING
        return waits, "" if state is None else state.reason
    if view.examined is None or (state.instance == DESK and _is_being_examined(view)):
        return BatchState.VALIDATING, state.reason
    if view.progress is None:
        return BatchState.RUNNING, ""
    is_finalizing = view.progress.stage == Stage.FINALIZING
    return BatchState.FINALIZING if is_finalizing else BatchState.RUNNING, view.progress.reason


def _is_being_examined(view: BatchView) -> bool:
    """Tell whether its runner, as far as it said yet, is not beyond the input."""
    told = view.progress
    return told is not None and told.stage == Stage.VALIDATING and not view.recorded
