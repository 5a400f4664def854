"""Batches that are long over go, with all that is kept of people who have nothing any more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction

from compute_functions.contract.batches import BatchState
from resource_server.domain import batch_progress, errors
from resource_server.domain.batches import Batch, BatchStatus, Stage
from resource_server.domain.files import Purpose, StoredFile, new_file_id
from resource_server.domain.paging import batch_paging
from resource_server.services.batch_duties import OldRowsDuty
from resource_server.services.tenure import LeasedTenure, clock
from resource_server.store.batches import BatchRows
from resource_server.store.database import in_database
from resource_server.store.files import file_row
from resource_server.store.holders import lock_holder
from resource_server.store.lease import LeaseTable
from resource_server.store.models import BatchRow, FileRow, HolderRow
from resource_server.store.old_batches import OldBatchRows
from tests.support.batch_rows import NOW, batch, report

pytestmark = pytest.mark.usefixtures("any_database")

ALICE = frozenset({"alice"})
TABLE = BatchRows(clock=lambda: NOW)
OLD = OldBatchRows()
#: Batches of these tests end then.
END = NOW + 1


async def fence() -> int:
    number = await LeaseTable("test", term_s=0.0).acquire()
    assert number is not None
    return number


async def over(
    state: BatchState = BatchState.COMPLETED, *, key: str | None = None, **changes: Any
) -> Batch:
    """Add a batch that is over and that its site has forgotten, but for `changes`."""
    made = await TABLE.add(batch(), ALICE, most_active=10_000, key=key, digest="d")
    ended = batch_progress.taken(made, report(made, state), now=END)
    if state is BatchState.CANCELLED:
        told = made.told_to_cancel(at=NOW)
        ended = batch_progress.taken(told, report(made, state), now=END)
    done = replace(ended, **{"stage": Stage.DONE} | changes)
    assert await TABLE.save(done, await fence())
    return done


async def kept_file(**changes: Any) -> str:
    values: dict[str, Any] = {
        "id": new_file_id(),
        "owner": "alice",
        "filename": "f",
        "purpose": Purpose.BATCH,
        "bytes": 1,
        "sha256": "0" * 64,
        "created_at": NOW,
    }
    file = StoredFile(**values | changes)
    await in_database(file_row(file).save)
    return file.id


async def left() -> set[str]:
    page = await TABLE.page(ALICE, batch_paging(limit=100))
    return {one.id for one in page.items}


async def test_whatever_its_end_a_batch_goes_when_it_is_old_and_not_before() -> None:
    states = (
        BatchState.COMPLETED,
        BatchState.FAILED,
        BatchState.EXPIRED,
        BatchState.CANCELLED,
    )
    made = [await over(state) for state in states]
    assert [one.status.value for one in made] == [state.value for state in states]
    number = await fence()
    assert await OLD.forget(END, number) == 0
    assert await left() == {one.id for one in made}
    assert await OLD.forget(END + 0.1, number) == 4
    for one in made:
        with pytest.raises(errors.BatchNotFound):
            await TABLE.get(ALICE, one.id)


async def test_what_is_not_over_or_not_forgotten_by_its_site_stays() -> None:
    active = await TABLE.add(batch(), ALICE, most_active=10, key=None, digest="d")
    told = await over(stage=Stage.FORGETTING)
    assert await OLD.forget(END + 1e9, await fence()) == 0
    assert await left() == {active.id, told.id}


@pytest.mark.parametrize("field", ["input_file_id", "output_file_id", "error_file_id"])
async def test_one_of_which_a_file_is_there_stays(field: str) -> None:
    file_id = await kept_file()
    kept: dict[str, Any] = {field: file_id}
    made = await over(**kept)
    other = await over(output_file_id=new_file_id())
    assert await OLD.forget(END + 1, await fence()) == 1
    assert await left() == {made.id}
    assert other.id not in await left()
    await in_database(FileRow.objects.filter(file_id=file_id).delete)
    assert await OLD.forget(END + 1, await fence()) == 1


async def test_few_go_at_once_the_oldest_first() -> None:
    made = [await over(completed_at=END - n) for n in range(3)]
    assert await OldBatchRows(at_once=2).forget(END + 1, await fence()) == 2
    assert await left() == {made[0].id}


async def test_a_key_is_known_as_long_as_its_batch() -> None:
    made = await over(key="k")
    assert await TABLE.made(ALICE, "k", "d") is not None
    await OLD.forget(END + 1, await fence())
    assert await TABLE.made(ALICE, "k", "d") is None
    again = await TABLE.add(batch(), ALICE, most_active=1, key="k", digest="other")
    assert again.id != made.id


async def test_who_has_nothing_is_forgotten_and_may_begin_again() -> None:
    await over()
    await in_database(lock_as, "carol")
    await in_database(lock_as, "bob")
    await kept_file(owner="bob")
    number = await fence()
    assert await OLD.forget_holders(number) == 1
    assert await holders() == {"alice", "bob"}
    await OLD.forget(END + 1, number)
    assert await OLD.forget_holders(number) == 1
    assert await holders() == {"bob"}
    await over()
    assert await holders() == {"alice", "bob"}


@transaction.atomic
def lock_as(owner: str) -> None:
    lock_holder(owner)


async def holders() -> set[str]:
    return await in_database(lambda: set(HolderRow.objects.values_list("owner", flat=True)))


async def test_who_begins_just_when_they_are_forgotten_is_locked_all_the_same() -> None:
    removed = 0

    def forgetful(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal removed
        if sql.startswith("SELECT") and "batch_holder" in sql and not removed:
            removed = HolderRow.objects.all().delete()[0]
        return execute(sql, params, many, context)

    @transaction.atomic
    def begins() -> None:
        with connection.execute_wrapper(forgetful):
            lock_holder("alice")

    await in_database(begins)
    assert removed == 1
    assert await holders() == {"alice"}


async def test_who_is_not_the_active_controller_forgets_nothing() -> None:
    made, old = await over(), await fence()
    await fence()
    for act in (OLD.forget(END + 1, old), OLD.forget_holders(old)):
        with pytest.raises(errors.LeaseLost):
            await act
    assert await left() == {made.id}


async def test_the_duty_forgets_all_that_is_old() -> None:
    for _ in range(5):
        await over()
    young = await over(completed_at=END + 100)
    number = await fence()
    tenure = LeasedTenure(number, asked_at=clock(), term_s=300.0)
    duty = OldRowsDuty(OldBatchRows(at_once=2), keep_s=1000.0, clock=lambda: END + 1050.0)
    await duty.perform(tenure)
    assert await left() == {young.id}
    assert (await TABLE.get(ALICE, young.id)).status is BatchStatus.COMPLETED
    assert await holders() == {"alice"}
    assert await in_database(BatchRow.objects.count) == 1
