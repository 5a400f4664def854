"""What a site answers about batches, read as values; what is no answer is its trouble alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from compute_functions.contract import FailureCode, JsonObject, SiteFailure
from compute_functions.contract.batches import (
    BatchFile,
    BatchReports,
    BatchState,
    BatchVerb,
    Piece,
)
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction
from resource_server.services.batch_duties.loops import one_error
from resource_server.services.batch_duties.site_batches import ASKED_AT_ONCE, SiteBatches
from tests.support import catalogs
from tests.support.batch_rows import batch, order, report


class SiteThatSays:
    """Gives the same answer to every call, or the next one of several."""

    def __init__(self, *answers: JsonObject) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[SiteFunction, JsonObject]] = []

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        self.asked.append((function, wire))
        return self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)

    def pause_s(self, cluster: Cluster) -> float:
        return 1.0


def site(*answers: JsonObject) -> tuple[SiteBatches, SiteThatSays]:
    calls = SiteThatSays(*answers)
    return SiteBatches(calls, catalogs.cluster()), calls


def failure(code: FailureCode, message: str = "its words") -> JsonObject:
    return SiteFailure(code=code, message=message).to_wire()


async def test_a_submission_gives_how_the_batch_is():
    made = batch()
    said = report(made, BatchState.RECEIVING)
    there, calls = site(BatchReports(reports=(said,)).to_wire())
    assert await there.submit(made.order) == said
    ((function, wire),) = calls.asked
    assert (function, wire["verb"]) == ("run_batch", "submit")


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (FailureCode.BATCH_REFUSED, errors.BatchRefusedThere, "its words"),
        (FailureCode.INVALID_REQUEST, errors.BatchRefusedThere, "its words"),
        (FailureCode.BATCH_UNKNOWN, errors.BatchUnknownThere, "its words"),
        (FailureCode.BUSY, errors.BatchNotNow, "its words"),
        # Words that may name hosts and paths go into the log alone.
        (FailureCode.SITE_FAILED, errors.BatchNotNow, "the site cannot do it now"),
        (
            FailureCode.SITE_MISCONFIGURED,
            errors.BatchNotNow,
            "the site is not set up correctly for batches; its operators must act",
        ),
    ],
)
async def test_a_failure_is_a_word_about_this_batch(
    code: FailureCode, kind: type[errors.SiteRefusal], message: str
) -> None:
    there, _ = site(failure(code))
    for act in (there.submit(order()), there.put("batch_00000001", 0, b"x")):
        with pytest.raises(errors.SiteRefusal) as caught:
            await act
        assert (type(caught.value), caught.value.message) == (kind, message)


async def test_a_failure_to_tell_of_many_is_no_answer():
    there, _ = site(failure(FailureCode.BATCH_REFUSED))
    with pytest.raises(errors.BackendUnavailable):
        await there.say(BatchVerb.REPORT, ["batch_00000001"])


@pytest.mark.parametrize(
    "answer",
    [{}, {"v": 1, "kind": "batches"}, {"v": 2}, {"v": 1, "kind": "failure", "code": "?"}],
)
async def test_what_is_not_understood_is_no_answer(answer: dict[str, Any]) -> None:
    there, _ = site(answer)
    for act in (
        there.submit(order()),
        there.say(BatchVerb.REPORT, ["batch_00000001"]),
        there.get("batch_00000001", BatchFile.OUTPUT, 0),
    ):
        with pytest.raises(errors.BackendUnavailable):
            await act


async def test_a_submission_without_a_report_is_no_answer():
    there, _ = site(BatchReports().to_wire())
    with pytest.raises(errors.BackendUnavailable):
        await there.submit(order())


async def test_many_are_asked_about_in_several_calls():
    ids = [f"batch_{number:08}" for number in range(2 * ASKED_AT_ONCE + 1)]
    there, calls = site(BatchReports(unknown=(ids[0],)).to_wire(), BatchReports().to_wire())
    says = await there.say(BatchVerb.FORGET, ids)
    assert says.unknown == {ids[0]}
    assert [one for _, wire in calls.asked for one in wire["batches"]] == ids
    assert len(calls.asked) == 3


async def test_pieces_go_and_come():
    there, calls = site(Piece(size=7).to_wire(), Piece(size=7, content=b"abc").to_wire())
    assert await there.put("batch_00000001", 4, b"xyz") == 7
    assert (await there.get("batch_00000001", BatchFile.ERRORS, 4)).content == b"abc"
    assert [(f, wire["offset"]) for f, wire in calls.asked] == [("batch_file", 4)] * 2


async def test_that_the_lease_is_lost_is_said_before_all_else():
    async def fails(error: Exception) -> None:
        raise error

    async def group() -> None:
        with one_error():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fails(ZeroDivisionError()))
                tasks.create_task(fails(errors.LeaseLost()))

    with pytest.raises(errors.LeaseLost):
        await group()


class SiteOfLongReports:
    """Reports of at most so many batches fit into its answers."""

    def __init__(self, fit: int) -> None:
        self._fit = fit
        self.asked: list[int] = []

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        ids = wire["batches"]
        self.asked.append(len(ids))
        if len(ids) > self._fit:
            return failure(FailureCode.RESPONSE_TOO_LARGE)
        known = [report(batch(order=order(batch=one)), BatchState.RUNNING) for one in ids[1:]]
        return BatchReports(reports=tuple(known), unknown=tuple(ids[:1])).to_wire()

    def pause_s(self, cluster: Cluster) -> float:
        return 1.0


async def test_where_reports_do_not_fit_into_an_answer_fewer_are_asked_for():
    calls = SiteOfLongReports(fit=20)
    ids = [f"batch_{number:08}" for number in range(ASKED_AT_ONCE)]
    says = await SiteBatches(calls, catalogs.cluster()).say(BatchVerb.REPORT, ids)
    assert says.reports.keys() | says.unknown == set(ids)
    assert max(calls.asked[1:]) < ASKED_AT_ONCE


async def test_one_report_that_does_not_fit_is_an_error():
    calls = SiteOfLongReports(fit=0)
    with pytest.raises(errors.AnswerTooLarge):
        await SiteBatches(calls, catalogs.cluster()).say(BatchVerb.REPORT, ["batch_00000001"])
    assert calls.asked == [1]
