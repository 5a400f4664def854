"""Rows of batches: everybody's own, counted while they are added, written under a premise."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from compute_functions.contract.batches import BatchState, BatchUse, LineError
from resource_server.domain import batch_progress, errors
from resource_server.domain.batches import (
    AlcfStatus,
    Batch,
    BatchFilter,
    BatchStatus,
    Stage,
    new_batch_id,
)
from resource_server.domain.files import Purpose, StoredFile, output_file_id
from resource_server.domain.paging import batch_paging
from resource_server.store.batches import BatchRows
from resource_server.store.database import in_database
from resource_server.store.files import FileRows
from resource_server.store.holders import lock_holder
from resource_server.store.lease import LeaseTable
from resource_server.store.live_batches import LiveBatches
from resource_server.store.models import BatchRow
from tests.support.batch_rows import NOW, SUM, batch, ended, order, report

pytestmark = pytest.mark.usefixtures("any_database")

ALICE, BOB = frozenset({"alice", "alice-too"}), frozenset({"bob"})
TABLE = BatchRows(clock=lambda: NOW)


async def added(
    made: Batch | None = None, *, most: int = 100, key: str | None = None, digest: str = "d"
) -> Batch:
    return await TABLE.add(made or batch(), ALICE, most_active=most, key=key, digest=digest)


async def fence() -> int:
    number = await LeaseTable("test", term_s=0.0).acquire()
    assert number is not None
    return number


async def test_what_was_written_is_read():
    made = batch(
        metadata={"a": "ä"},
        keep_s=3600.0,
        completion_window="2d",
        order=order(input_path="/p/in.jsonl", upload=None, output_folder="/p/out"),
        fetches=False,
    )
    assert await added(made) == made == await TABLE.get(ALICE, made.id)
    full = report(
        made,
        BatchState.FAILED,
        total=7,
        completed=3,
        failed=1,
        errors=(LineError(code="c", message="nul \0 in it", line=3, param="p"),),
        use=BatchUse(input_tokens=5),
        reason="because",
    )
    over = batch_progress.taken(made, full, now=NOW + 5)
    assert await TABLE.save(over, await fence())
    assert await TABLE.get(ALICE, made.id) == replace(over, version=1)


async def test_another_s_batch_is_as_absent_as_one_that_is_not_there():
    made = await added()
    for batch_id in (made.id, new_batch_id()):
        with pytest.raises(errors.BatchNotFound) as one:
            await TABLE.get(BOB, batch_id)
        with pytest.raises(errors.BatchNotFound) as other:
            await TABLE.cancel(BOB, batch_id, now=NOW)
        assert one.value.message == other.value.message
    assert (await TABLE.page(BOB, batch_paging())).items == ()
    with pytest.raises(errors.InvalidRequest):
        await TABLE.page(BOB, batch_paging(after=made.id))


async def test_pages_have_the_newest_first():
    made = [(await added()).id for _ in range(5)]
    first = await TABLE.page(ALICE, batch_paging(limit=2))
    assert ([one.id for one in first.items], first.has_more) == (made[:2:-1], True)
    rest = await TABLE.page(ALICE, batch_paging(after=first.items[-1].id))
    assert ([one.id for one in rest.items], rest.has_more) == (made[2::-1], False)


async def moved(made: Batch, state: BatchState, **said: Any) -> Batch:
    after = batch_progress.taken(made, report(made, state, **said), now=NOW + 1)
    assert await TABLE.save(after, await fence())
    return await TABLE.get(ALICE, made.id)


@pytest.mark.row("C-50", "C-52")
async def test_lists_by_alcf_s_words_hold_what_each_batch_says_of_itself():
    said: list[tuple[BatchState, dict[str, Any]]] = [
        (BatchState.VALIDATING, {}),
        (BatchState.WAITING, {}),
        (BatchState.RUNNING, {"completed": 1}),
        (BatchState.FINALIZING, {}),
        (BatchState.COMPLETED, {}),
        (BatchState.COMPLETED, {"output": SUM}),
        (BatchState.FAILED, {}),
        (BatchState.EXPIRED, {}),
    ]
    made = [await moved(await added(), state, **values) for state, values in said]
    made.append(await TABLE.cancel(ALICE, (await added()).id, now=NOW))
    found: dict[AlcfStatus, set[str]] = {}
    for word in AlcfStatus:
        page = await TABLE.page(ALICE, batch_paging(limit=100), BatchFilter(statuses=[word]))
        assert {one.alcf_status for one in page.items} == {word}
        found[word] = {one.id for one in page.items}
    assert set().union(*found.values()) == {one.id for one in made}
    assert sum(map(len, found.values())) == len(made)
    wanted = BatchFilter(statuses=[AlcfStatus.PENDING, AlcfStatus.RUNNING])
    both = await TABLE.page(ALICE, batch_paging(), wanted)
    assert {one.id for one in both.items} == found[AlcfStatus.PENDING] | found[AlcfStatus.RUNNING]


async def test_lists_by_openai_s_words_and_by_cluster_hold_those_alone():
    failed = await moved(await added(), BatchState.FAILED)
    expired = await moved(await added(batch(cluster="other")), BatchState.EXPIRED)
    for wanted, found in (
        (BatchFilter(statuses=[BatchStatus.FAILED]), {failed.id}),
        (BatchFilter(statuses=[AlcfStatus.FAILED]), {failed.id, expired.id}),
        (BatchFilter(statuses=[AlcfStatus.FAILED], cluster="other"), {expired.id}),
        (BatchFilter(cluster="elsewhere"), set()),
    ):
        page = await TABLE.page(ALICE, batch_paging(), wanted)
        assert {one.id for one in page.items} == found, wanted


async def test_of_many_at_once_only_as_many_become_active_as_are_allowed():
    async def one() -> bool:
        try:
            await added(most=3)
        except errors.TooManyBatches:
            return False
        return True

    assert sum(await asyncio.gather(*(one() for _ in range(10)))) == 3
    # Another cluster counts for itself, and one that is over not at all.
    await added(batch(cluster="other"), most=1)
    over = (await TABLE.page(ALICE, batch_paging())).items[1]
    assert await TABLE.save(ended(over), await fence())
    await added(most=3)


async def test_who_counts_waits_for_whoever_counts_already():
    other, held, done = batch(), threading.Event(), threading.Event()
    await added(other)
    row = BatchRow.objects.filter(batch_id=other.id)
    await in_database(partial(row.update, owner="bob"))

    @transaction.atomic
    def comes_first() -> None:
        lock_holder("alice")
        held.set()
        # Whoever does not wait is done long before this.
        done.wait(1.0)
        row.update(owner="alice")

    first = asyncio.create_task(in_database(comes_first))
    assert await asyncio.to_thread(held.wait, 10.0)
    try:
        with pytest.raises(errors.TooManyBatches):
            await added(most=1)
    finally:
        done.set()
        await first


async def test_the_same_key_makes_one_batch_however_many_ask_at_once():
    made = await asyncio.gather(*(added(key="k") for _ in range(10)))
    assert len({one.id for one in made}) == 1
    assert (await TABLE.made(ALICE, "k", "d")) == made[0]
    assert await TABLE.made(ALICE, None, "d") is None
    assert await TABLE.made(BOB, "k", "d") is None


async def test_the_same_key_with_another_request_is_refused():
    await added(key="k")
    with pytest.raises(errors.IdempotencyKeyReused):
        await added(key="k", digest="other")
    with pytest.raises(errors.IdempotencyKeyReused):
        await TABLE.made(ALICE, "k", "other")


async def test_a_batch_of_a_file_that_was_just_deleted_is_not_made():
    with pytest.raises(errors.InvalidRequest) as caught:
        await added(batch(input_file_id="file-gone"))
    assert caught.value.param == "input_file_id"
    assert (await TABLE.page(ALICE, batch_paging())).items == ()


async def test_a_write_under_an_old_premise_is_none():
    made, number = await added(), await fence()
    cancelled = await TABLE.cancel(ALICE, made.id, now=NOW)
    assert cancelled.version == 1
    assert not await TABLE.save(ended(made), number)
    assert await TABLE.get(ALICE, made.id) == cancelled
    assert await TABLE.cancel(ALICE, made.id, now=NOW + 5) == cancelled


async def test_who_is_not_the_active_controller_writes_nothing():
    made, old = await added(), await fence()
    await fence()
    for act in (TABLE.save(ended(made), old), TABLE.urgent(old)):
        with pytest.raises(errors.LeaseLost):
            await act
    assert await TABLE.get(ALICE, made.id) == made


async def test_files_come_with_the_batch_that_left_them_or_not_at_all():
    made, number = await added(), await fence()
    file = StoredFile(
        id=output_file_id(made.id, "output", "0" * 64),
        owner="alice",
        filename="o",
        purpose=Purpose.BATCH_OUTPUT,
        bytes=1,
        sha256="0" * 64,
        created_at=NOW,
    )
    over = replace(ended(made), output_file_id=file.id)
    assert not await TABLE.save(replace(over, version=7), number, [file])
    assert await FileRows().known([file.id]) == frozenset()
    assert await TABLE.save(over, number, [file])
    assert await FileRows().get(ALICE, file.id) == file


async def test_a_row_that_nobody_can_read_any_more_holds_up_no_other():
    broken, sound = await added(), await added()
    for order_ in ("{}", "cut off"):
        row = BatchRow.objects.filter(batch_id=broken.id)
        await in_database(partial(row.update, order=order_))
        assert list(await TABLE.live("site")) == [sound]


async def test_what_people_do_is_urgent_once():
    made, number = await added(), await fence()
    await added(batch(cluster="other"))
    assert await TABLE.urgent(number) == {"site", "other"}
    assert set(await TABLE.urgent(number)) == set()
    await TABLE.cancel(ALICE, made.id, now=NOW)
    assert await TABLE.urgent(number) == {"site"}


async def test_live_are_those_of_which_something_is_left_to_do():
    first, second, third = await added(), await added(), await added()
    await added(batch(cluster="other"))
    number = await fence()
    assert await TABLE.save(replace(ended(first), stage=Stage.DONE), number)
    assert await TABLE.save(ended(second), number)
    # What is only to be forgotten may stay for days, and holds up no other.
    assert [one.id for one in await TABLE.live("site")] == [third.id, second.id]
    (found,) = await in_database(partial(LiveBatches(at_once=1).read, "site"))
    assert found.id == third.id
    assert set(await TABLE.clusters()) == {"site", "other"}


async def test_of_live_ones_only_what_has_changed_is_read_anew():
    first, second = await added(), await added()
    table = BatchRows(clock=lambda: NOW)
    before = {one.id: one for one in await table.live("site")}
    assert before == {first.id: first, second.id: second}
    cancelled = await TABLE.cancel(ALICE, first.id, now=NOW)
    third = await added()
    after = {one.id: one for one in await table.live("site")}
    assert after == {first.id: cancelled, second.id: second, third.id: third}
    assert list(after) == [first.id, second.id, third.id]
    assert after[second.id] is before[second.id]
    assert await TABLE.save(replace(ended(second), stage=Stage.DONE), await fence())
    assert [one.id for one in await table.live("site")] == [first.id, third.id]


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "done"},
        {"stage": "?"},
        {"status": "completed", "completed_at": 1.0},
        {"stage": "done"},
        {"status": "failed", "stage": "done"},
    ],
)
async def test_impossible_rows_are_impossible(columns: dict[str, Any]) -> None:
    made = await added()

    def write() -> None:
        BatchRow.objects.filter(batch_id=made.id).update(**columns)

    with pytest.raises(IntegrityError):
        await in_database(write)
    assert (await TABLE.get(ALICE, made.id)).status is BatchStatus.VALIDATING
