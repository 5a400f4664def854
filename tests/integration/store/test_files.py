"""Rows of files: everybody's own, counted while they are added, removed when not needed."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from django.db import IntegrityError, transaction

from resource_server.domain import errors
from resource_server.domain.files import FileRules, Purpose, StoredFile, new_file_id
from resource_server.domain.paging import Paging, file_paging
from resource_server.store.batches import BatchRows
from resource_server.store.database import in_database
from resource_server.store.files import FileRows, file_row
from resource_server.store.holders import lock_holder
from resource_server.store.lease import LeaseTable
from resource_server.store.models import FileRow
from tests.support.batch_rows import batch, ended

pytestmark = pytest.mark.usefixtures("any_database")

ALICE, BOB = frozenset({"alice", "alice-too"}), frozenset({"bob"})
RULES = FileRules()
NOW = 1_800_000_000.0


def rows(now: float = NOW) -> FileRows:
    return FileRows(clock=lambda: now)


def file(**values: object) -> StoredFile:
    made = StoredFile(
        id=new_file_id(),
        owner="alice",
        filename="in.jsonl",
        purpose=Purpose.BATCH,
        bytes=10,
        sha256="0" * 64,
        created_at=NOW,
        expires_at=NOW + 100,
    )
    return replace(made, **values)  # type: ignore[arg-type]


async def added(**values: object) -> StoredFile:
    made = file(**values)
    await rows().add(made, ALICE, RULES)
    return made


async def fence() -> int:
    number = await LeaseTable("test", term_s=0.0).acquire()
    assert number is not None
    return number


async def test_a_file_is_its_owner_s_whichever_of_their_identities_asks():
    made = await added(owner="alice-too")
    assert await rows().get(ALICE, made.id) == made
    assert await rows().get(frozenset({"alice-too"}), made.id) == made


async def test_another_s_file_is_as_absent_as_one_that_is_not_there():
    made, never = await added(), new_file_id()
    for act in (rows().get, rows().delete):
        for file_id in (made.id, never):
            with pytest.raises(errors.StoredFileNotFound) as caught:
                await act(BOB, file_id)
            assert caught.value.message == f"There is no file {file_id}, or it is not yours."
    assert (await rows().page(BOB, file_paging())).items == ()
    with pytest.raises(errors.InvalidRequest):
        await rows().page(BOB, file_paging(after=made.id))


async def test_pages_follow_each_other_in_both_orders():
    made = [(await added()).id for _ in range(5)]
    first = await rows().page(ALICE, file_paging(limit=2))
    assert ([one.id for one in first.items], first.has_more) == (made[:2:-1], True)
    rest = await rows().page(ALICE, file_paging(limit=3, after=first.items[-1].id))
    assert ([one.id for one in rest.items], rest.has_more) == (made[2::-1], False)
    oldest = await rows().page(ALICE, Paging(limit=4, after=made[0], newest_first=False))
    assert [one.id for one in oldest.items] == made[1:]


async def test_a_page_may_follow_a_file_that_was_deleted_meanwhile():
    made = [(await added()).id for _ in range(3)]
    await rows().delete(ALICE, made[1])
    page = await rows().page(ALICE, file_paging(after=made[1]))
    assert [one.id for one in page.items] == [made[0]]


async def test_pages_may_be_of_one_purpose():
    output = await added(purpose=Purpose.BATCH_OUTPUT)
    await added()
    page = await rows().page(ALICE, file_paging(), Purpose.BATCH_OUTPUT)
    assert [one.id for one in page.items] == [output.id]


async def test_deleted_and_expired_it_is_gone_at_once_and_counts_no_more():
    deleted, expired = await added(), await added(expires_at=NOW)
    await rows().delete(ALICE, deleted.id)
    for one in (deleted, expired):
        with pytest.raises(errors.StoredFileNotFound):
            await rows().get(ALICE, one.id)
    await rows().room(ALICE, FileRules(quota_bytes=10), adding=10)
    with pytest.raises(errors.StoredFileNotFound):
        await rows().delete(ALICE, deleted.id)


async def test_of_many_at_once_only_as_many_come_in_as_fit():
    rules = FileRules(quota_bytes=50)

    async def one() -> bool:
        try:
            await rows().add(file(), ALICE, rules)
        except errors.FileQuotaExceeded:
            return False
        return True

    assert sum(await asyncio.gather(*(one() for _ in range(12)))) == 5
    with pytest.raises(errors.FileQuotaExceeded):
        await rows().room(ALICE, rules, adding=1)
    await rows().room(BOB, rules, adding=50)


async def test_who_counts_waits_for_whoever_counts_already():
    held, done = threading.Event(), threading.Event()

    @transaction.atomic
    def comes_first() -> None:
        lock_holder("alice")
        held.set()
        # Whoever does not wait is done long before this.
        done.wait(1.0)
        file_row(file()).save()

    first = asyncio.create_task(in_database(comes_first))
    assert await asyncio.to_thread(held.wait, 10.0)
    try:
        with pytest.raises(errors.FileQuotaExceeded):
            await rows().add(file(), ALICE, FileRules(quota_bytes=15))
    finally:
        done.set()
        await first


async def test_their_number_is_limited_too():
    await added()
    with pytest.raises(errors.FileQuotaExceeded):
        await rows().add(file(), ALICE, FileRules(quota_count=1))


async def test_what_is_unwanted_goes_with_its_row():
    deleted, expired, kept = await added(), await added(expires_at=NOW - 61), await added()
    for_ever = await added(expires_at=None)
    await rows().delete(ALICE, deleted.id)
    assert set(await rows().unwanted()) == {deleted.id, expired.id}
    await rows().forget([deleted.id, expired.id], await fence())
    assert await rows().unwanted() == []
    ids = [deleted.id, expired.id, kept.id, for_ever.id]
    assert await rows().known(ids) == {kept.id, for_ever.id}


async def test_who_just_found_a_file_may_still_use_it_when_its_time_is_over():
    await added(expires_at=NOW - 59)
    assert await rows().unwanted() == []


async def test_what_an_active_batch_needs_is_not_unwanted():
    input_ = await added()
    made = batch(input_file_id=input_.id, owner="alice")
    made = await BatchRows(clock=lambda: NOW).add(made, ALICE, most_active=1, key=None, digest="")
    await rows().delete(ALICE, input_.id)
    assert await rows().unwanted() == []
    assert await BatchRows().save(ended(made), await fence())
    assert await rows().unwanted() == [input_.id]


async def test_who_is_not_the_active_controller_removes_no_row():
    deleted = await added()
    await rows().delete(ALICE, deleted.id)
    old = await fence()
    await fence()
    with pytest.raises(errors.LeaseLost):
        await rows().forget([deleted.id], old)
    assert await rows().unwanted() == [deleted.id]


async def test_one_that_never_came_to_stay_is_discarded():
    made = await added()
    await rows().discard(made.id)
    assert await rows().known([made.id]) == frozenset()


async def test_no_row_has_a_purpose_that_is_none():
    row = FileRow(
        file_id="x", owner="a", filename="f", purpose="?", bytes=0, sha256="", created_at=0.0
    )
    with pytest.raises(IntegrityError):
        await in_database(row.save)
