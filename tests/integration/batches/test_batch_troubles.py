"""What the controller does when a batch is cancelled, refused, late, or its site in trouble."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from compute_functions.batch_spool.fate import begin
from compute_functions.contract import FailureCode, JsonObject, SiteFailure
from compute_functions.contract.batches import MOST_PIECE, Piece
from compute_functions.site import VARIABLE
from resource_server.adapters.stored_files import StoredFiles
from resource_server.domain import batch_progress, errors
from resource_server.domain.batches import Batch, BatchStatus, Stage
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.site_functions import SiteFunction
from tests.support import batch_orders
from tests.support.batch_orders import BatchSite, lines
from tests.support.batch_plant import (
    ALICE,
    BOB,
    CAROL,
    CLUSTER,
    BatchPlant,
    SiteInThisProcess,
    at_work,
    cluster,
    model,
)
from tests.support.eventually import eventually, eventually_so

pytestmark = pytest.mark.usefixtures("database")


class SiteWithOneThatIsAway(SiteInThisProcess):
    """Gives no answer at one of its clusters."""

    @override
    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        self.away = cluster.name == "away"
        return await super().call(cluster, function, wire)


class SiteThatDamages(SiteInThisProcess):
    """Gives the first piece of a result with another byte in it."""

    damaged = 0

    @override
    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        answer = await super().call(cluster, function, wire)
        if wire.get("content", "") is None and not self.damaged:
            self.damaged += 1
            answer["content"] = "AAAA" + answer["content"][4:]
        return answer


class SiteThatLosesABatchBetweenItsFiles(SiteInThisProcess):
    """Gives the answers of a batch, and then its spool is gone."""

    @override
    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        if wire.get("file") == "errors":
            path = Path(os.environ[VARIABLE]) / "batches" / wire["batch"]
            path.rename(path.parents[1] / "lost")
        return await super().call(cluster, function, wire)


class SiteThatHoldsBackOne(SiteInThisProcess):
    """Gives nothing of what one batch left."""

    held_back = ""

    @override
    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        if wire.get("batch") == self.held_back and wire.get("content", "") is None:
            raise errors.BackendUnavailable
        return await super().call(cluster, function, wire)


class SiteThatKeepsNothing(SiteInThisProcess):
    """Takes each piece of an input, and has none of it."""

    puts = 0

    @override
    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        if wire.get("content") is None:
            return await super().call(cluster, function, wire)
        self.puts += 1
        return Piece(size=0).to_wire()


class SiteThatIsBusyInOddWords(SiteInThisProcess):
    """Puts everything off, in words with characters that are none."""

    @override
    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        return SiteFailure(code=FailureCode.BUSY, message="no\0 ro\nom").to_wire()


class DiskThatIsFull(StoredFiles):
    """Has no room until a test makes some."""

    full = True

    @override
    async def put(self, file_id: str, offset: int, content: bytes) -> None:
        if self.full:
            raise errors.FilesUnavailable
        await super().put(file_id, offset, content)


def seen(
    plant: BatchPlant, batch: Batch, condition: Callable[[Batch], object]
) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return bool(condition(await plant.batch(batch.id)))

    return look


def is_(status: BatchStatus) -> Callable[[Batch], bool]:
    return lambda batch: batch.status is status


def ended_by_its_runner(site: BatchSite, batch: Batch, output: bytes, **outcome: Any) -> None:
    """Be the runner that ends a batch with this output and no errors."""
    folder = site.folder(batch.id)
    assert begin(folder, now=1.0)
    folder.output.write_bytes(output)
    sum_ = {"bytes": len(output), "sha256": hashlib.sha256(output).hexdigest()}
    said = {"status": "completed", "total": 1, "completed": 1, "output": sum_} | outcome
    folder.outcome.write_text(json.dumps(said))


@pytest.mark.row("C-54")
async def test_cancelled_before_its_site_heard_of_it_it_never_runs(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch = await plant.created(lines())
    cancelled = await plant.batches.cancel(ALICE, batch.id)
    assert cancelled.status is BatchStatus.CANCELLING
    calls = SiteInThisProcess()
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, lambda one: one.stage is Stage.DONE))
    assert (await plant.batch(batch.id)).status is BatchStatus.CANCELLED
    # An order that another controller may have sent on its way comes too late now.
    assert calls.verbs() == ["forget"]
    assert site.spool.tombstone(batch.id).exists()


@pytest.mark.row("C-54")
async def test_cancelled_while_it_runs_the_runner_is_told_and_what_is_done_stays(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch = await plant.created(lines())
    # Nobody waits for the next look at how it is: cancelling comes at once.
    async with at_work(plant.duty(SiteInThisProcess(every_s=3600.0))):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
        folder = site.folder(batch.id)
        assert begin(folder, now=1.0)
        await plant.batches.cancel(ALICE, batch.id)
        assert (await plant.batches.cancel(ALICE, batch.id)).status is BatchStatus.CANCELLING
        await eventually(folder.control.exists)
        assert json.loads(folder.control.read_bytes())["cancel"] is True
    async with at_work(plant.duty(SiteInThisProcess())):
        ended_by_its_runner(site, batch, b"{}\n", status="cancelled")
        await eventually_so(seen(plant, batch, is_(BatchStatus.CANCELLED)))
    found = await plant.batch(batch.id)
    assert found.cancelling_at
    assert found.cancelled_at
    assert found.output_file_id
    assert await plant.content(found.output_file_id) == b"{}\n"
    assert (await plant.batches.result(ALICE, batch.id)).batch == found


async def test_one_that_was_done_before_the_cancel_came_is_completed(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch = await plant.created(lines())
    calls = SiteInThisProcess()
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
        calls.away = True
        await eventually_so(seen(plant, batch, lambda one: one.waits))
        await plant.batches.cancel(ALICE, batch.id)
        site.finish(batch.id)
        calls.away = False
        await eventually_so(seen(plant, batch, is_(BatchStatus.COMPLETED)))
    with pytest.raises(errors.BatchOver):
        await plant.batches.cancel(ALICE, batch.id)


async def test_a_site_that_is_away_is_waited_for_and_holds_up_no_other(
    plant: BatchPlant, site: BatchSite
) -> None:
    plant.catalog = Catalog(
        [cluster(), cluster("away")], [model(CLUSTER), model("away", name="org/other")]
    )
    there = await plant.created(lines().replace(b"org/tiny", b"org/other"))
    assert there.cluster == "away"
    here = await plant.created(lines())
    async with at_work(plant.duty(SiteWithOneThatIsAway())):
        await eventually_so(seen(plant, here, is_(BatchStatus.IN_PROGRESS)))
        await eventually_so(seen(plant, there, lambda one: one.waits))
    found = await plant.batch(there.id)
    assert (found.status, found.stage) == (BatchStatus.VALIDATING, Stage.UNTOLD)
    assert found.reason == batch_progress.UNREACHABLE
    # It comes back, and has never heard of that model.
    async with at_work(plant.duty(SiteInThisProcess())):
        await eventually_so(seen(plant, there, is_(BatchStatus.FAILED)))
    assert "does not run org/other" in (await plant.batch(there.id)).reason


@pytest.mark.row("C-53")
async def test_what_the_site_refuses_has_failed_and_says_why(
    plant: BatchPlant, site: BatchSite
) -> None:
    input_ = lines().replace(b"line-1", b"line-0")
    batch = await plant.created(input_)
    async with at_work(plant.duty(SiteInThisProcess())):
        await eventually_so(seen(plant, batch, lambda one: one.stage is Stage.DONE))
    found = await plant.batch(batch.id)
    assert (found.status, found.errors[0].code) == (BatchStatus.FAILED, "duplicate_custom_id")
    with pytest.raises(errors.BatchFailed, match="Line 2"):
        await plant.batches.result(ALICE, batch.id)


async def test_a_site_that_has_no_room_for_one_takes_the_others(
    plant: BatchPlant, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = batch_orders.batch_site(tmp_path / "small", most_active_per_owner=1)
    monkeypatch.setenv("HOTNODE_SITE_DIR", str(site.site.root))
    first, second = await plant.created(lines()), await plant.created(lines())
    third = await plant.created(lines(), by=BOB)
    async with at_work(plant.duty(SiteInThisProcess())):
        await eventually_so(seen(plant, first, is_(BatchStatus.IN_PROGRESS)))
        await eventually_so(seen(plant, second, lambda one: "of this person" in one.reason))

        async def third_runs() -> bool:
            return (await plant.batch(third.id, BOB)).status is BatchStatus.IN_PROGRESS

        await eventually_so(third_runs)
        site.finish(first.id)
        await eventually_so(seen(plant, second, is_(BatchStatus.IN_PROGRESS)))
        assert (await plant.batch(second.id)).waits == ""


async def test_a_site_that_lost_a_batch_gets_it_again(plant: BatchPlant, site: BatchSite) -> None:
    batch = await plant.created(lines())
    calls = SiteInThisProcess()
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
        site.folder(batch.id).path.rename(site.site.root / "lost")
        await eventually(lambda: calls.verbs().count("submit") > 1)
        await eventually(site.folder(batch.id).input.exists)
        site.finish(batch.id)
        await eventually_so(seen(plant, batch, is_(BatchStatus.COMPLETED)))


async def test_large_files_travel_in_turns_and_go_on_where_they_were(
    plant: BatchPlant, site: BatchSite
) -> None:
    padding = {"body": {"model": "org/tiny", "messages": [], "x": "y" * MOST_PIECE}}
    input_ = lines(20, **padding)
    batch = await plant.created(input_)
    first = SiteInThisProcess()
    async with at_work(plant.duty(first)):
        # Somewhere in the middle the controller ends.
        await eventually(lambda: _offsets(first, "input") and max(_offsets(first, "input")) > 3)
    second = SiteInThisProcess()
    async with at_work(plant.duty(second)):
        await eventually(site.folder(batch.id).input.exists)
        assert min(_offsets(second, "input")) > 0
        output = input_ * 2
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
        ended_by_its_runner(site, batch, output)
        await eventually(lambda: len(_offsets(second, "output")) > 3)
    third = SiteInThisProcess()
    async with at_work(plant.duty(third)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.COMPLETED)))
        assert min(_offsets(third, "output")) > 0
    found = await plant.batch(batch.id)
    assert found.output_file_id
    assert await plant.content(found.output_file_id) == output
    asked = _offsets(second, "output") + _offsets(third, "output")
    # One that was under way when its controller ended may come again, and no other does.
    assert len(asked) - len(set(asked)) <= 1


def _offsets(calls: SiteInThisProcess, file: str) -> list[int]:
    """Return at which offsets pieces of a file were asked for or given."""
    return [wire["offset"] for _, wire in calls.called if wire.get("file") == file]


async def test_a_result_that_comes_damaged_is_fetched_again(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch, calls = await plant.created(lines()), SiteThatDamages()
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
        ended_by_its_runner(site, batch, b'{"custom_id":"a"}\n')
        await eventually_so(seen(plant, batch, is_(BatchStatus.COMPLETED)))
    found = await plant.batch(batch.id)
    assert found.output_file_id
    assert calls.damaged
    assert await plant.content(found.output_file_id) == b'{"custom_id":"a"}\n'


async def test_a_batch_whose_results_do_not_come_on_holds_up_no_other(
    plant: BatchPlant, site: BatchSite
) -> None:
    first, second = await plant.created(lines()), await plant.created(lines())
    calls = SiteThatHoldsBackOne()
    calls.held_back = first.id
    async with at_work(plant.duty(calls, trouble_pause_s=3600.0)):
        await eventually_so(seen(plant, second, is_(BatchStatus.IN_PROGRESS)))
        await eventually_so(seen(plant, first, is_(BatchStatus.IN_PROGRESS)))
        site.finish(first.id)
        await eventually_so(seen(plant, first, lambda one: one.waits))
        site.finish(second.id)
        await eventually_so(seen(plant, second, is_(BatchStatus.COMPLETED)))
    assert (await plant.batch(first.id)).stage is Stage.FETCHING


async def test_an_input_that_does_not_come_on_is_not_sent_without_a_pause(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch, calls = await plant.created(lines()), SiteThatKeepsNothing()
    async with at_work(plant.duty(calls, trouble_pause_s=3600.0)):
        await eventually_so(seen(plant, batch, lambda one: one.waits))
    assert calls.puts == 1


async def test_a_full_disk_keeps_results_at_the_site_until_there_is_room(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch, disk = await plant.created(lines()), DiskThatIsFull(plant.root)
    async with at_work(plant.duty(SiteInThisProcess(), disk=disk)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
        site.finish(batch.id)
        await eventually_so(seen(plant, batch, lambda one: one.waits == batch_progress.NO_FILES))
        assert (await plant.batch(batch.id)).status is BatchStatus.FINALIZING
        disk.full = False
        await eventually_so(seen(plant, batch, is_(BatchStatus.COMPLETED)))


async def test_past_its_time_one_that_no_site_heard_of_has_expired(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch = await plant.created(lines(), completion_window="1h")
    plant.clock = lambda: batch.expires_at + 1.0
    calls = SiteInThisProcess()
    calls.away = True
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.EXPIRED)))
    found = await plant.batch(batch.id)
    assert found.expired_at
    assert found.stage is Stage.FORGETTING
    with pytest.raises(errors.BatchFailed, match="in time"):
        await plant.batches.result(ALICE, batch.id)


async def test_past_its_time_a_silent_site_is_waited_for_a_while(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch = await plant.created(lines(), completion_window="1h")
    calls = SiteInThisProcess()
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
    calls.away = True
    plant.clock = lambda: batch.expires_at + 1.0
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, lambda one: one.waits))
    assert (await plant.batch(batch.id)).status is BatchStatus.IN_PROGRESS
    plant.clock = lambda: batch.expires_at + batch_progress.EXPIRY_GRACE_S + 1.0
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.EXPIRED)))


async def test_what_the_site_expired_has_partial_results(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch = await plant.created(lines())
    async with at_work(plant.duty(SiteInThisProcess())):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
        site.finish(batch.id, "expired")
        await eventually_so(seen(plant, batch, is_(BatchStatus.EXPIRED)))
    found = await plant.batch(batch.id)
    assert found.output_file_id
    assert found.error_file_id
    assert found.expired_at


async def test_a_cluster_that_left_the_catalog_is_waited_for(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch = await plant.created(lines())
    with_it, plant.catalog = plant.catalog, Catalog()
    calls = SiteInThisProcess()
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, lambda one: one.waits == batch_progress.NO_CLUSTER))
        plant.catalog = with_it
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))


async def test_results_at_a_cluster_that_left_the_catalog_are_given_up_one_day(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch, disk = await plant.created(lines()), DiskThatIsFull(plant.root)
    async with at_work(plant.duty(SiteInThisProcess(), disk=disk)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
        site.finish(batch.id)
        await eventually_so(seen(plant, batch, lambda one: one.stage is Stage.FETCHING))
    plant.catalog = Catalog()
    async with at_work(plant.duty(SiteInThisProcess())):
        await eventually_so(seen(plant, batch, lambda one: one.waits == batch_progress.NO_CLUSTER))
    plant.clock = lambda: batch.expires_at + batch_progress.FORGET_WITHIN_S + 1.0
    async with at_work(plant.duty(SiteInThisProcess())):
        await eventually_so(seen(plant, batch, lambda one: one.stage is Stage.DONE))
    found = await plant.batch(batch.id)
    assert (found.status, "not be fetched" in found.reason) == (BatchStatus.FAILED, True)


async def test_a_result_is_never_taken_for_another_one_of_a_batch_that_was_done_again(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch, calls = await plant.created(lines()), SiteThatLosesABatchBetweenItsFiles()
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
        problems = hashlib.sha256(b"{}\n").hexdigest()
        lost = {"error_file": {"bytes": 3, "sha256": problems}}
        ended_by_its_runner(site, batch, b"first\n", **lost)
        await eventually(lambda: calls.verbs().count("submit") > 1)
        await eventually(site.folder(batch.id).input.exists)
        ended_by_its_runner(site, batch, b"second one\n")
        await eventually_so(seen(plant, batch, is_(BatchStatus.COMPLETED)))
    found = await plant.batch(batch.id)
    assert found.output_file_id
    assert await plant.content(found.output_file_id) == b"second one\n"


async def test_the_input_stays_as_long_as_it_is_needed(plant: BatchPlant, site: BatchSite) -> None:
    batch = await plant.created(lines())
    assert batch.input_file_id is not None
    await plant.files.delete(ALICE, batch.input_file_id)
    with pytest.raises(errors.StoredFileNotFound):
        await plant.files.get(ALICE, batch.input_file_id)
    async with at_work(plant.duty(SiteInThisProcess())):
        await eventually_so(seen(plant, batch, is_(BatchStatus.IN_PROGRESS)))
    assert site.folder(batch.id).input.read_bytes() == lines()


async def test_many_new_ones_are_handed_in_and_none_waits_for_the_next_round(
    plant: BatchPlant, site: BatchSite
) -> None:
    batches = [await plant.created(lines(1), by=person) for person in (ALICE, BOB) for _ in "12345"]
    batches += [await plant.created(lines(1), by=CAROL) for _ in "12345"]
    calls = SiteInThisProcess(every_s=3600.0)
    async with at_work(plant.duty(calls)):
        await eventually(lambda: calls.verbs().count("submit") == len(batches))


async def test_words_of_a_site_that_no_database_takes_are_taken(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch, calls = await plant.created(lines()), SiteThatIsBusyInOddWords()
    async with at_work(plant.duty(calls)):
        await eventually_so(seen(plant, batch, lambda one: one.waits))
    assert (await plant.batch(batch.id)).waits == "no room"
