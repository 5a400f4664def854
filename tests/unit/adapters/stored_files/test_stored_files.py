"""Bytes on the disk: whole or not there, fetched piece by piece, swept when left behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest
from typing_extensions import override

from compute_functions.contract.batches import FileSum
from resource_server.adapters.stored_files import StoredFiles
from resource_server.adapters.stored_files.folder import FilesFolder
from resource_server.adapters.stored_files.reading import ReadFile
from resource_server.adapters.stored_files.upload import UploadedFile
from resource_server.domain import errors
from tests.support.batch_plant import stream

ID, OTHER = "file-" + "a" * 32, "file-" + "b" * 32
FAR = 1 << 62


def sum_of(content: bytes) -> FileSum:
    return FileSum(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@pytest.fixture
def disk(tmp_path: Path) -> StoredFiles:
    return StoredFiles(tmp_path / "files")


class FolderThatFillsUp(FilesFolder):
    """Is full from when a test says so."""

    full = False

    @override
    def require_room(self, length: int = 0) -> None:
        if self.full:
            raise errors.FilesUnavailable
        super().require_room(length)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())


def modes(tmp_path: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}


async def whole(disk: StoredFiles, offset: int = 0) -> bytes:
    return b"".join([piece async for piece in disk.read(ID, offset=offset)])


async def knows_nothing(ids: Collection[str]) -> Collection[str]:
    return ()


async def test_what_is_written_is_read_and_its_sum_told(disk: StoredFiles, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    assert await disk.write(ID, stream(content, cut=77_777), most_bytes=FAR) == sum_of(content)
    assert await whole(disk) == content
    assert await whole(disk, 2_999_990) == content[-10:]
    assert await disk.piece(ID, 1_000, 10) == content[1_000:1_010]
    assert await disk.piece(ID, len(content), 10) == b""
    assert await disk.exists(ID)
    assert not await disk.exists(OTHER)
    assert modes(tmp_path) == {0o600}
    await disk.remove(ID)
    await disk.remove(ID)
    assert names(tmp_path) == []


async def test_an_empty_file_is_one(disk: StoredFiles) -> None:
    assert await disk.write(ID, stream(b""), most_bytes=0) == sum_of(b"")
    assert await whole(disk) == b""


async def test_a_removed_file_is_read_to_its_end(disk: StoredFiles) -> None:
    content = os.urandom(2_500_000)
    await disk.write(ID, stream(content), most_bytes=FAR)
    reading = disk.read(ID)
    found = await anext(reading)
    await disk.remove(ID)
    assert found + b"".join([piece async for piece in reading]) == content


async def test_what_is_not_there_cannot_be_read(disk: StoredFiles) -> None:
    with pytest.raises(errors.FilesUnavailable):
        await anext(disk.read(ID))
    with pytest.raises(errors.FilesUnavailable):
        await disk.piece(ID, 0, 1)


async def test_no_other_name_ever_reaches_the_disk(disk: StoredFiles) -> None:
    for name in ("../../etc/passwd", "file-", "file-" + "A" * 32, ID + "/x", ""):
        with pytest.raises(ValueError, match="id"):
            await disk.piece(name, 0, 1)
        with pytest.raises(ValueError, match="id"):
            await disk.put(name, 0, b"")


async def test_a_disk_without_room_takes_nothing(tmp_path: Path) -> None:
    full = StoredFiles(tmp_path, reserve_bytes=FAR)
    with pytest.raises(errors.FilesUnavailable, match="full"):
        await full.write(ID, stream(b"x"), most_bytes=FAR)
    with pytest.raises(errors.FilesUnavailable, match="full"):
        await full.put(ID, 0, b"x")
    assert names(tmp_path) == []


async def test_who_may_not_write_there_gets_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("a file where a folder should be")
    with pytest.raises(errors.FilesUnavailable):
        await StoredFiles(tmp_path / "files").write(ID, stream(b"x"), most_bytes=FAR)


async def test_pieces_that_come_twice_or_out_of_order_make_the_same_file(
    disk: StoredFiles, tmp_path: Path
) -> None:
    content = os.urandom(1_000)
    for begin in (0, 100, 0, 200):
        await disk.put(ID, begin, content[begin : begin + 100])
    assert await disk.arrived(ID) == 300
    for begin in range(300, 1_000, 100):
        await disk.put(ID, begin, content[begin : begin + 100])
    assert not await disk.exists(ID)
    assert await asyncio.gather(*(disk.finish(ID, sum_of(content)) for _ in range(3)))
    assert await disk.finish(ID, sum_of(content))
    assert (await whole(disk), await disk.arrived(ID)) == (content, 1_000)


async def test_what_came_damaged_begins_anew(disk: StoredFiles, tmp_path: Path) -> None:
    await disk.put(ID, 0, b"damaged")
    assert not await disk.finish(ID, sum_of(b"correct"))
    assert (await disk.arrived(ID), await disk.exists(ID)) == (0, False)
    await disk.put(ID, 0, b"correct")
    assert await disk.finish(ID, sum_of(b"correct"))
    assert names(tmp_path) == [ID]


async def test_of_an_empty_result_no_piece_comes(disk: StoredFiles) -> None:
    assert await disk.arrived(ID) == 0
    assert await disk.finish(ID, sum_of(b""))
    assert await whole(disk) == b""


async def test_a_sweep_takes_what_is_old_and_unknown_and_nothing_else(tmp_path: Path) -> None:
    now = time.time()
    disk = StoredFiles(tmp_path, clock=lambda: now + 4_000)
    for file_id in (ID, OTHER):
        await disk.write(file_id, stream(b"x"), most_bytes=FAR)
    fetched = "file-" + "c" * 32
    await disk.put(fetched, 0, b"x")
    left = FilesFolder(tmp_path, reserve_bytes=0).incoming("file-" + "d" * 32, ".upload")
    left.write_bytes(b"half")

    async def knows_one(ids: Collection[str]) -> Collection[str]:
        return set(ids) & {OTHER}

    assert await StoredFiles(tmp_path).sweep(knows_nothing) == 0
    assert await disk.sweep(knows_one) == 2
    assert names(tmp_path) == [OTHER, f"{fetched}.fetch"]
    old = StoredFiles(tmp_path, clock=lambda: now + 31 * 86_400)
    assert await old.sweep(knows_one) == 1
    assert names(tmp_path) == [OTHER]


async def test_a_result_that_is_about_to_get_its_row_is_not_swept(tmp_path: Path) -> None:
    later = [4_000.0]
    disk = StoredFiles(tmp_path, clock=lambda: time.time() + later[0])
    await disk.put(ID, 0, b"x")
    assert await disk.finish(ID, sum_of(b"x"))

    async def is_touched_after_the_answer(ids: Collection[str]) -> Collection[str]:
        later[0] = 0.0
        return ()

    assert await disk.sweep(is_touched_after_the_answer) == 0
    assert await disk.exists(ID)
    # Whoever finishes it again, for its batch's other file is still on its way, touches it.
    whole_file = FilesFolder(tmp_path, reserve_bytes=0).whole(ID)
    os.utime(whole_file, (0, 0))
    assert await disk.finish(ID, sum_of(b"x"))
    assert whole_file.stat().st_mtime > 0


async def test_a_disk_that_hangs_holds_up_nobody_who_wants_another_thread(tmp_path: Path) -> None:
    pipe = FilesFolder(tmp_path, reserve_bytes=0).whole(ID)
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    disk = StoredFiles(tmp_path)
    # More than asyncio itself has threads.
    hanging = [asyncio.create_task(disk.piece(ID, 0, 1)) for _ in range(40)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(5.0):
            assert await asyncio.to_thread(lambda: 1) == 1
    finally:
        number = os.open(pipe, os.O_RDWR)
        found = await asyncio.gather(*hanging, return_exceptions=True)
        os.close(number)
    assert {type(one) for one in found} == {errors.FilesUnavailable}


async def test_an_upload_sees_a_disk_that_fills_up_before_the_next_megabytes(
    tmp_path: Path,
) -> None:
    folder = FolderThatFillsUp(tmp_path, reserve_bytes=0)
    with UploadedFile(folder, ID, most_bytes=FAR) as file:
        file.add(b"x" * 1_000_000)
        folder.full = True
        with pytest.raises(errors.FilesUnavailable):
            file.add(b"x" * 1_000_000)
    assert names(tmp_path) == []


async def test_a_sweep_of_a_folder_that_is_not_there_finds_nothing(tmp_path: Path) -> None:
    assert await StoredFiles(tmp_path / "none").sweep(knows_nothing) == 0


async def test_an_upload_may_be_left_while_a_thread_still_writes(tmp_path: Path) -> None:
    folder = FilesFolder(tmp_path, reserve_bytes=0)
    with UploadedFile(folder, ID, most_bytes=FAR) as file:
        file.add(b"x")
    # What comes after the end is written nowhere: its descriptor may be another's by now.
    file.add(b"y")
    assert names(tmp_path) == []


async def test_a_file_may_be_closed_while_a_thread_still_reads(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    file = ReadFile(path)
    assert file.block(3, 4) == b"tent"
    file.close()
    file.close()
    assert file.block(0, 1) == b""


async def test_past_the_limit_nothing_more_is_asked_for(disk: StoredFiles, tmp_path: Path) -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x" * 100_000

    with pytest.raises(errors.PayloadTooLarge):
        await disk.write(ID, endless(), most_bytes=1_000_000)
    assert asked == 11
    assert names(tmp_path) == []
