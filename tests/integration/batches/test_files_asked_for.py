"""Files that people store: whole or not at all, up to limits, gone when their time is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

import pytest
from typing_extensions import override

from resource_server.adapters.stored_files import StoredFiles
from resource_server.domain import errors
from resource_server.domain.files import FileRules, Purpose, Upload
from resource_server.domain.paging import file_paging
from resource_server.services.batch_duties import FilesDuty
from resource_server.store.files import FileRows
from tests.support.batch_orders import lines
from tests.support.batch_plant import ALICE, BOB, BatchPlant, stream, tenure

pytestmark = pytest.mark.usefixtures("database")

UPLOAD = Upload(filename="in.jsonl")


class CallerLeft(Exception):
    """The caller's connection is gone."""


class DiskThatSweptTooEarly(StoredFiles):
    """Has swept away what was just stored, as when its process was stopped for an hour."""

    @override
    async def exists(self, file_id: str) -> bool:
        await self.remove(file_id)
        return await super().exists(file_id)


class DiskThatCannotBeSwept(StoredFiles):
    """Cannot be read when it is swept."""

    @override
    async def sweep(self, known: Callable[[Collection[str]], Awaitable[Collection[str]]]) -> int:
        raise errors.FilesUnavailable


async def broken_off(content: bytes) -> AsyncIterator[bytes]:
    yield content
    raise CallerLeft


def on_disk(plant: BatchPlant) -> list[str]:
    return sorted(path.name for path in plant.root.rglob("*") if path.is_file())


@pytest.mark.row("C-58")
async def test_what_is_larger_than_a_request_is_stored_and_read(plant: BatchPlant) -> None:
    content = bytes(range(256)) * 50_000
    file = await plant.files.create(ALICE, UPLOAD, stream(content, cut=70_001))
    assert (file.bytes, file.filename, file.purpose) == (len(content), "in.jsonl", Purpose.BATCH)
    assert await plant.files.get(ALICE, file.id) == file
    assert await plant.content(file.id) == content
    rest = await plant.files.content(ALICE, file.id, offset=len(content) - 5)
    assert b"".join([piece async for piece in rest.content]) == content[-5:]
    assert on_disk(plant) == [file.id]


async def test_nobody_sees_another_s_file(plant: BatchPlant) -> None:
    file = await plant.uploaded(b"x")
    for act in (plant.files.get, plant.files.content, plant.files.delete):
        with pytest.raises(errors.StoredFileNotFound):
            await act(BOB, file.id)
    assert (await plant.files.list(BOB, file_paging())).items == ()


async def test_a_file_that_is_too_large_leaves_nothing(plant: BatchPlant) -> None:
    plant.rules = FileRules(most_bytes=100)
    assert (await plant.uploaded(b"x" * 100)).bytes == 100
    kept = on_disk(plant)
    with pytest.raises(errors.PayloadTooLarge) as caught:
        await plant.uploaded(b"x" * 101)
    assert caught.value.limit_bytes == 100
    said = Upload(filename="f", declared=101)
    with pytest.raises(errors.PayloadTooLarge):
        await plant.files.create(ALICE, said, broken_off(b""))
    assert on_disk(plant) == kept


async def test_an_upload_that_breaks_off_leaves_nothing(plant: BatchPlant) -> None:
    with pytest.raises(CallerLeft):
        await plant.files.create(ALICE, UPLOAD, broken_off(b"x" * 3_000_000))
    assert on_disk(plant) == []
    assert (await plant.files.list(ALICE, file_paging())).items == ()


async def test_a_caller_who_is_cancelled_leaves_nothing(plant: BatchPlant) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        begun.set()
        await never.wait()

    task = asyncio.create_task(plant.files.create(ALICE, UPLOAD, slow()))
    async with asyncio.timeout(20):
        await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert on_disk(plant) == []


async def test_past_the_quota_nothing_is_stored(plant: BatchPlant) -> None:
    plant.rules = FileRules(quota_bytes=10)
    first = await plant.uploaded(b"x" * 6)
    with pytest.raises(errors.FileQuotaExceeded):
        await plant.uploaded(b"x" * 5)
    assert on_disk(plant) == [first.id]
    await plant.uploaded(b"x" * 10, by=BOB)
    await plant.files.delete(ALICE, first.id)
    await plant.uploaded(b"x" * 10)


async def test_what_is_deleted_or_expired_goes_from_the_disk(plant: BatchPlant) -> None:
    kept = await plant.files.create(
        ALICE, Upload(filename="f", expires_after_s=7200), stream(b"kept")
    )
    expired = await plant.files.create(
        ALICE, Upload(filename="f", expires_after_s=3600), stream(b"expired")
    )
    deleted = await plant.uploaded(b"deleted")
    await plant.files.delete(ALICE, deleted.id)
    created_at = kept.created_at
    plant.clock = lambda: created_at + 3700
    assert [one.id for one in (await plant.files.list(ALICE, file_paging())).items] == [kept.id]
    duty = FilesDuty(FileRows(clock=plant.clock), plant.disk)
    await duty.perform(await tenure())
    assert on_disk(plant) == [kept.id]
    assert await FileRows().known([kept.id, expired.id, deleted.id]) == {kept.id}


async def test_the_input_of_an_active_batch_stays_until_it_is_over(plant: BatchPlant) -> None:
    batch = await plant.created(lines())
    assert batch.input_file_id is not None
    await plant.files.delete(ALICE, batch.input_file_id)
    duty = FilesDuty(FileRows(), plant.disk)
    await duty.perform(await tenure())
    assert on_disk(plant) == [batch.input_file_id]


async def test_what_a_crash_left_goes_and_what_has_a_row_stays(plant: BatchPlant) -> None:
    kept = await plant.uploaded(b"kept")

    async def rowless() -> None:
        """Be a process that dies between the disk and the table."""
        await plant.disk.write("file-" + "a" * 32, stream(b"left"), most_bytes=10)

    await rowless()
    now = kept.created_at
    duty = FilesDuty(FileRows(), plant.disk, sweep_every_s=0.0)
    await duty.perform(await tenure())
    assert len(on_disk(plant)) == 2
    plant.clock = lambda: now + 4000
    duty = FilesDuty(FileRows(), plant.disk)
    await duty.perform(await tenure())
    assert on_disk(plant) == [kept.id]


async def test_a_row_without_its_bytes_is_none(plant: BatchPlant) -> None:
    plant.kind_of_disk = DiskThatSweptTooEarly
    with pytest.raises(errors.FilesUnavailable):
        await plant.uploaded(b"x")
    assert (await plant.files.list(ALICE, file_paging())).items == ()


async def test_a_disk_in_trouble_does_not_end_the_duty(plant: BatchPlant) -> None:
    plant.kind_of_disk = DiskThatCannotBeSwept
    await plant.uploaded(b"x")
    await FilesDuty(FileRows(), plant.disk).perform(await tenure())
    assert len(on_disk(plant)) == 1
