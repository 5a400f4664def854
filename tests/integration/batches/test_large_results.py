"""Results that are larger than the gateway takes, or than their site said."""

from __future__ import annotations

import base64
import time
from dataclasses import replace

import pytest
from typing_extensions import override

from compute_functions.contract import JsonObject
from compute_functions.contract.batches import BatchState, FileSum
from resource_server.adapters.stored_files import StoredFiles
from resource_server.domain import batch_progress, errors
from resource_server.domain.batches import Batch, BatchStatus, Stage
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction
from tests.support.batch_orders import BatchSite, lines
from tests.support.batch_plant import ALICE, BatchPlant, SiteInThisProcess, at_work, is_settled
from tests.support.batch_rows import NOW, batch, report
from tests.support.eventually import eventually, eventually_so

pytestmark = pytest.mark.usefixtures("database")

#: What `BatchSite.finish` leaves: answers of 46 bytes, and 13 of errors.
MOST = 20


class ClockThatJumps:
    """The time of day, and as much more as a test says."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class SiteThatSendsMore(SiteInThisProcess):
    """Sends more of a result than it said that there is."""

    pieces = 0

    @override
    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        answer = await super().call(cluster, function, wire)
        if wire.get("content", "") is None:
            self.pieces += 1
            more = base64.b64decode(answer["content"]) + b"x" * 100_000
            answer["content"] = base64.b64encode(more).decode()
        return answer


class DiskThatCounts(StoredFiles):
    """Notes how much of results was written."""

    written = 0

    @override
    async def put(self, file_id: str, offset: int, content: bytes) -> None:
        self.written += len(content)
        await super().put(file_id, offset, content)


async def reached(plant: BatchPlant, of: Batch, status: BatchStatus) -> Batch:
    async def there() -> bool:
        return (await plant.batch(of.id)).status is status

    await eventually_so(there)
    return await plant.batch(of.id)


@pytest.mark.parametrize("state", ["completed", "cancelled", "expired"])
async def test_what_is_too_large_is_not_fetched_and_the_batch_says_so(
    plant: BatchPlant, site: BatchSite, state: str
) -> None:
    clock = plant.clock = ClockThatJumps()
    made, calls = await plant.created(lines()), SiteInThisProcess()
    async with at_work(plant.duty(calls, most_result_bytes=MOST)):
        await reached(plant, made, BatchStatus.IN_PROGRESS)
        if state == "cancelled":
            await plant.batches.cancel(ALICE, made.id)
        site.finish(made.id, state)
        over = await reached(plant, made, BatchStatus(state))

        asked = len(calls.verbs())
        await plant.created(lines())
        # More than a whole round was spoken since: it has not been told to forget this one.
        await eventually(lambda: calls.verbs()[asked:].count("report") > 2)
        assert "forget" not in calls.verbs()
        assert site.folder(made.id).output.stat().st_size == 46
        clock.ahead_s = batch_progress.LEFT_THERE_S

        async def settled() -> bool:
            return is_settled(await plant.batch(made.id))

        await eventually_so(settled)
        assert not site.folder(made.id).path.exists()
    assert over.output_file_id is None
    assert "answers has 46 bytes" in over.reason
    assert "at most 20 bytes" in over.reason
    assert f"operators can hand over what {made.id} left, until 20" in over.reason
    # The other one is small enough.
    assert over.error_file_id is not None
    assert await plant.content(over.error_file_id) == b'{"line-1":0}\n'
    assert [wire["file"] for _, wire in calls.called if wire.get("content", "") is None] == [
        "errors"
    ]


def left_at(path: str | None, output: int, problems: int) -> str:
    sums = [FileSum(bytes=size, sha256="0" * 64) for size in (output, problems)]
    said = report(
        batch(), BatchState.COMPLETED, output=sums[0], error_file=sums[1], results_path=path
    )
    return batch_progress.left_there(said, most_bytes=MOST, now=NOW)


async def test_the_words_name_what_is_too_large_and_where_it_is() -> None:
    assert left_at("/p/out.jsonl", MOST, MOST) == ""
    both = left_at("/p/out.jsonl", MOST + 1, 99)
    assert both.endswith("The results are at the cluster: /p/out.jsonl")
    assert "answers has 21 bytes" in both
    assert "lines without one has 99 bytes" in both
    assert "operators" not in both
    nowhere = left_at(None, 1, 99)
    assert nowhere.count("bytes") == 2
    assert time.strftime("until %Y-%m-%d %H:%M UTC;", time.gmtime(NOW + 7 * 86_400)) in nowhere


@pytest.mark.parametrize(
    ("changes", "seconds", "forgotten"),
    [
        pytest.param({}, 0.0, False, id="too large, and nowhere else"),
        pytest.param({}, batch_progress.LEFT_THERE_S - 1, False, id="in the last second"),
        pytest.param({}, batch_progress.LEFT_THERE_S, True, id="after its time"),
        pytest.param({"output_file_id": "file-1"}, 0.0, False, id="one of two"),
        pytest.param(
            {"output_file_id": "file-1", "error_file_id": "file-2"}, 0.0, True, id="all fetched"
        ),
    ],
)
def test_a_site_keeps_for_a_while_what_nobody_else_has(
    changes: dict[str, str], seconds: float, forgotten: bool
) -> None:
    sums = [FileSum(bytes=99, sha256="0" * 64)] * 2
    said = report(batch(), BatchState.COMPLETED, output=sums[0], error_file=sums[1])
    made = replace(batch(), report=said, stage=Stage.FETCHING)
    over = replace(batch_progress.ended(made, now=NOW), **changes)  # type: ignore[arg-type]
    assert batch_progress.may_be_forgotten(over, now=NOW + seconds) is forgotten
    # In a folder of the cluster it is the person's.
    there = replace(over, report=replace(said, results_path="/p/out.jsonl"))
    assert batch_progress.may_be_forgotten(there, now=NOW)


def test_a_site_that_is_away_when_it_may_forget_is_told_when_it_is_back() -> None:
    output = FileSum(bytes=99, sha256="0" * 64)
    said = report(batch(), BatchState.EXPIRED, output=output)
    late = batch().expires_at + 60.0
    made = replace(batch(), report=said, stage=Stage.FETCHING)
    over = batch_progress.ended(made, now=late)
    due = late + batch_progress.LEFT_THERE_S
    assert batch_progress.may_be_forgotten(over, now=due)
    assert not batch_progress.may_be_left(over, now=due + batch_progress.FORGET_WITHIN_S - 1)
    assert batch_progress.may_be_left(over, now=due + batch_progress.FORGET_WITHIN_S)
    # One that leaves nothing there is not waited for so long.
    fetched = replace(over, output_file_id="file-1")
    assert batch_progress.may_be_left(fetched, now=due)


def test_a_batch_without_results_is_forgotten_at_once() -> None:
    failed = batch_progress.refused(batch(), "why", now=NOW)
    assert batch_progress.may_be_forgotten(failed, now=NOW)
    assert batch_progress.may_be_forgotten(replace(failed, report=None), now=NOW)


async def test_a_batch_of_which_nothing_is_fetched_has_no_other_result_and_says_why(
    plant: BatchPlant, site: BatchSite
) -> None:
    made = await plant.created(lines())
    async with at_work(plant.duty(SiteInThisProcess(), most_result_bytes=1)):
        await reached(plant, made, BatchStatus.IN_PROGRESS)
        await plant.batches.cancel(ALICE, made.id)
        site.finish(made.id, "cancelled")
        await reached(plant, made, BatchStatus.CANCELLED)
    with pytest.raises(errors.BatchFailed, match=r"46 bytes.*13 bytes.*operators"):
        await plant.batches.result(ALICE, made.id)


async def test_a_site_that_sends_more_than_it_said_is_stopped_there(
    plant: BatchPlant, site: BatchSite
) -> None:
    made, calls = await plant.created(lines()), SiteThatSendsMore()
    disk = DiskThatCounts(plant.root)
    async with at_work(plant.duty(calls, disk=disk, trouble_pause_s=3600.0)):
        await reached(plant, made, BatchStatus.IN_PROGRESS)
        site.finish(made.id)

        async def waits() -> bool:
            return (await plant.batch(made.id)).waits == batch_progress.UNREACHABLE

        await eventually_so(waits)
    found = await plant.batch(made.id)
    assert (found.status, found.stage) == (BatchStatus.FINALIZING, Stage.FETCHING)
    assert (calls.pieces, disk.written) == (1, 0)


def test_an_end_without_words_has_none() -> None:
    over = report(batch(), BatchState.COMPLETED)
    made = replace(batch(), report=over, stage=Stage.FETCHING, waits="something")
    assert batch_progress.ended(made, now=NOW).waits == ""
