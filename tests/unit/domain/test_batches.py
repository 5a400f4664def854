"""Batches: their statuses, and what becomes of them when their site speaks or is silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_functions.contract.batches import BatchState, BatchVerb, LineError
from resource_server.domain import batch_progress, errors
from resource_server.domain.batches import (
    ACTIVE,
    ALCF_WORDS,
    MOVES,
    AlcfStatus,
    Batch,
    BatchStatus,
    Stage,
    new_batch_id,
    way_to,
)
from tests.support.batch_rows import NOW, SUM, batch, order, report

FINAL = {"completed", "failed", "expired", "cancelled"}


def test_the_moves_are_of_all_statuses_and_end_in_openai_s_four():
    assert MOVES.keys() == set(BatchStatus) == ALCF_WORDS.keys()
    assert {status for status in BatchStatus if status.final} == FINAL
    assert set(BatchStatus) - FINAL == ACTIVE
    for status in BatchStatus:
        assert way_to(status, status) == ()
        assert (way_to(BatchStatus.VALIDATING, status) is None) is False
        if not status.final:
            assert all(way_to(status, BatchStatus(end)) for end in FINAL)


def test_only_what_is_cancelled_goes_over_cancelling():
    way = way_to(BatchStatus.VALIDATING, BatchStatus.COMPLETED)
    assert way == (BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING, BatchStatus.COMPLETED)
    assert way_to(BatchStatus.FINALIZING, BatchStatus.CANCELLED) == (
        BatchStatus.CANCELLING,
        BatchStatus.CANCELLED,
    )
    assert way_to(BatchStatus.CANCELLING, BatchStatus.COMPLETED) == (BatchStatus.COMPLETED,)
    assert way_to(BatchStatus.CANCELLING, BatchStatus.IN_PROGRESS) is None


def test_a_move_passes_through_all_between_and_notes_when():
    moved = batch().moved(BatchStatus.COMPLETED, at=NOW)
    assert (moved.in_progress_at, moved.finalizing_at, moved.completed_at) == (NOW, NOW, NOW)
    assert moved.cancelling_at is None
    with pytest.raises(ValueError, match="does not become"):
        moved.moved(BatchStatus.IN_PROGRESS, at=NOW)


def test_ids_are_batch_and_32_hex_digits():
    assert len({new_batch_id() for _ in range(100)}) == 100
    assert batch(order=order(batch=new_batch_id())).id.startswith("batch_")


def said(state: BatchState, **values: object) -> Batch:
    made = batch()
    return batch_progress.taken(made, report(made, state, **values), now=NOW)


@pytest.mark.row("C-52")
@pytest.mark.parametrize(
    ("state", "values", "status", "alcf", "stage"),
    [
        ("receiving", {}, "validating", "pending", "sending"),
        ("validating", {}, "validating", "pending", "there"),
        ("waiting", {}, "in_progress", "pending", "there"),
        ("running", {}, "in_progress", "pending", "there"),
        ("running", {"failed": 1}, "in_progress", "running", "there"),
        ("finalizing", {"completed": 1}, "finalizing", "running", "there"),
        ("completed", {"output": SUM}, "finalizing", "running", "fetching"),
        ("completed", {}, "completed", "completed", "forgetting"),
        ("failed", {"output": SUM}, "failed", "failed", "forgetting"),
        ("cancelled", {"error_file": SUM}, "cancelling", "running", "fetching"),
        ("cancelled", {}, "cancelled", "failed", "forgetting"),
        ("expired", {"output": SUM}, "finalizing", "running", "fetching"),
        ("expired", {}, "expired", "failed", "forgetting"),
    ],
)
def test_what_the_site_says_is_openai_s_and_alcf_s_status(
    state: str, values: dict[str, object], status: str, alcf: str, stage: str
) -> None:
    found = said(BatchState(state), **values)
    assert (found.status, found.alcf_status, found.stage) == (status, alcf, stage)
    if stage == "fetching":
        assert batch_progress.ended(found, now=NOW).status == state


def test_results_that_the_site_put_in_their_place_are_not_fetched():
    there = batch(order=order(input_path="/p/a", upload=None), fetches=False)
    left = report(there, BatchState.COMPLETED, output=SUM, results_path="/p/r")
    assert batch_progress.taken(there, left, now=NOW).status is BatchStatus.COMPLETED
    # What it could put nowhere is.
    nowhere = replace(left, results_path=None)
    assert batch_progress.taken(there, nowhere, now=NOW).stage is Stage.FETCHING


def test_an_input_of_its_own_the_site_takes_by_itself():
    there = batch(order=order(input_path="/p/a", upload=None), fetches=False)
    found = batch_progress.taken(there, report(there, BatchState.RECEIVING), now=NOW)
    assert found.stage is Stage.THERE


@given(st.lists(st.sampled_from(BatchState), max_size=8), st.integers(0, 8))
def test_whatever_a_site_says_no_status_goes_back(states: list[BatchState], cancel: int) -> None:
    found = batch()
    for number, state in enumerate(states):
        before = found
        if number == cancel and not found.status.final:
            found = found.told_to_cancel(at=NOW)
        found = batch_progress.taken(found, report(found, state), now=NOW)
        assert way_to(before.status, found.status) is not None
        assert found.status.final == (found.stage in (Stage.FORGETTING, Stage.DONE))
        if before.status.final:
            assert found == before


def test_cancelling_again_changes_nothing_and_what_is_over_is_over():
    cancelling = batch().told_to_cancel(at=NOW)
    assert cancelling.told_to_cancel(at=NOW + 1) is cancelling
    cancelled = batch_progress.never_begun(cancelling, now=NOW)
    assert cancelled.told_to_cancel(at=NOW) is cancelled
    with pytest.raises(errors.BatchOver, match="completed"):
        said(BatchState.COMPLETED).told_to_cancel(at=NOW)


def test_a_batch_that_waits_says_for_what():
    waiting = batch_progress.kept_waiting(batch(), batch_progress.UNREACHABLE, now=NOW)
    assert (waiting.reason, waiting.status) == ("site unreachable", BatchStatus.VALIDATING)
    heard = batch_progress.taken(
        waiting, report(waiting, BatchState.WAITING, reason="no instance yet"), now=NOW
    )
    assert (heard.waits, heard.reason) == ("", "no instance yet")


def test_past_its_time_it_has_expired_and_one_that_a_site_has_is_waited_for_longer():
    late = batch().expires_at + 1
    assert batch_progress.kept_waiting(batch(), "x", now=late).status is BatchStatus.EXPIRED
    heard = said(BatchState.RUNNING)
    assert not batch_progress.kept_waiting(heard, "x", now=late).status.final
    later = late + batch_progress.EXPIRY_GRACE_S
    gone = batch_progress.kept_waiting(heard, "x", now=later)
    assert (gone.status, gone.stage) == (BatchStatus.EXPIRED, Stage.FORGETTING)


def test_a_site_that_speaks_and_never_ends_a_batch_is_not_believed_for_ever():
    heard = said(BatchState.RUNNING, completed=1)
    again = report(heard, BatchState.RUNNING, completed=2)
    last = heard.expires_at + batch_progress.SPOKEN_GRACE_S
    assert not batch_progress.taken(heard, again, now=last).status.final
    gone = batch_progress.taken(heard, again, now=last + 1)
    assert (gone.status, gone.stage) == (BatchStatus.EXPIRED, Stage.FORGETTING)
    assert gone.completed == 2
    # What it has ended is taken, however late.
    over = report(heard, BatchState.COMPLETED, output=SUM)
    assert batch_progress.taken(heard, over, now=last + 1).stage is Stage.FETCHING


def test_one_that_its_site_does_not_mention_is_waited_for_as_if_the_site_were_silent():
    heard = replace(said(BatchState.RUNNING), waits="x")
    last = heard.expires_at + batch_progress.EXPIRY_GRACE_S
    assert batch_progress.unmentioned(heard, now=last) == heard
    assert batch_progress.unmentioned(heard, now=last + 1).status is BatchStatus.EXPIRED


def test_what_is_to_be_fetched_is_given_up_only_after_a_week():
    fetching = said(BatchState.COMPLETED, output=SUM)
    # What is fetched was told once, and a report that comes late is of before.
    late = report(fetching, BatchState.RUNNING)
    assert batch_progress.taken(fetching, late, now=NOW) == fetching
    week = fetching.expires_at + batch_progress.FORGET_WITHIN_S
    assert not batch_progress.kept_waiting(fetching, "x", now=week).status.final
    gone = batch_progress.kept_waiting(fetching, "x", now=week + 1)
    assert gone.status is BatchStatus.FAILED
    assert "could not be fetched" in gone.reason
    assert batch_progress.may_be_left(gone, now=week + 1)


def test_a_refused_one_has_failed_and_says_why():
    problem = LineError(code="c", message="m", line=1)
    found = batch_progress.refused(batch(), "why", now=NOW, errors=(problem,))
    assert (found.status, found.reason, found.errors) == ("failed", "why", (problem,))
    assert (found.alcf_status, found.failed_at) == (AlcfStatus.FAILED, NOW)


def test_one_that_its_site_does_not_know_is_handed_in_again():
    assert batch_progress.forgotten_by_its_site(said(BatchState.RUNNING)).stage is Stage.UNTOLD


def test_what_the_site_has_not_ended_does_not_end():
    with pytest.raises(ValueError, match="not ended"):
        batch_progress.ended(said(BatchState.RUNNING), now=NOW)
    assert BatchVerb.FORGET  # the site's word for the last stage
