"""The journal's writer under a disk that fails: nothing is claimed, and no error is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from batch import errors
from batch.disk_thread import DiskThread
from batch.health import Health
from batch.journal.journal import Journal
from batch.journal.record import Answer
from batch.journal.recorded import Recorded
from batch.journal.segment import SegmentWriter
from batch.keeping import beside
from batch.retries import Trouble


class DiskThatSyncsNoMore(SegmentWriter):
    """Writes, and fails to sync once; then it would work again."""

    def write(self, content: bytes) -> None:
        descriptor, self._descriptor = self._descriptor, os.open("/dev/full", os.O_WRONLY)
        try:
            super().write(content)
        finally:
            os.close(self._descriptor)
            self._descriptor = descriptor


class SlowWriter(SegmentWriter):
    """Writes when it is allowed to."""

    may_go_on = threading.Event()

    def write(self, content: bytes) -> None:
        assert self.may_go_on.wait(20)
        super().write(content)


@pytest.fixture
async def disk() -> AsyncIterator[DiskThread]:
    async with DiskThread("test") as thread:
        yield thread


def answer(line: int) -> Answer:
    return Answer(line=line, custom_id="c", status=200, request_id="r", problem=None)


def journal_of(writer: SegmentWriter, disk: DiskThread, recorded: Recorded) -> Journal:
    return Journal(epoch=1, writer=writer, recorded=recorded, disk=disk, may_write=lambda: None)


async def test_a_line_counts_when_its_record_is_synced_and_not_before(
    tmp_path: Path, disk: DiskThread
):
    recorded = Recorded(2)
    writer = SegmentWriter.create(tmp_path, 1)
    journal = journal_of(writer, disk, recorded)
    journal.answered(answer(1))
    assert recorded.count == 0
    await journal.flush()
    assert recorded.count == 1
    writer.close()


async def test_a_failed_write_is_told_and_told_again(tmp_path: Path, disk: DiskThread):
    recorded = Recorded(2)
    writer = DiskThatSyncsNoMore.create(tmp_path, 1)
    journal = journal_of(writer, disk, recorded)
    journal.answered(answer(1))
    with pytest.raises(errors.DiskFailed):
        await journal.flush()
    # Nothing waits now, and the error is not forgotten.
    with pytest.raises(errors.DiskFailed):
        await journal.flush()
    with pytest.raises(errors.DiskFailed):
        SegmentWriter.write(writer, b"more")
    assert recorded.count == 0
    writer.close()


async def test_what_is_written_is_synced_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced: list[int] = []
    writer = SegmentWriter.create(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", lambda one: synced.append(os.fstat(one).st_size))
    writer.write(b"five\n")
    assert synced == [5]
    writer.close()


async def test_who_was_taken_over_writes_nothing(tmp_path: Path, disk: DiskThread):
    def refuse() -> None:
        raise errors.TakenOver(1, 2)

    recorded = Recorded(2)
    writer = SegmentWriter.create(tmp_path, 1)
    journal = Journal(epoch=1, writer=writer, recorded=recorded, disk=disk, may_write=refuse)
    journal.answered(answer(1))
    for _ in range(2):
        with pytest.raises(errors.TakenOver):
            await journal.flush()
    assert (tmp_path / "1.journal").read_bytes() == b""
    assert recorded.count == 0
    writer.close()


async def test_who_is_cancelled_while_the_disk_writes_loses_no_count(
    tmp_path: Path, disk: DiskThread
):
    recorded = Recorded(2)
    writer = SlowWriter.create(tmp_path, 1)
    journal = journal_of(writer, disk, recorded)
    journal.answered(answer(1))
    flush = asyncio.create_task(journal.flush())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush
    SlowWriter.may_go_on.set()
    journal.answered(answer(2))
    await journal.flush()
    assert recorded.count == 2
    assert [recorded.place(line).offset for line in (1, 2)] == [0, recorded.place(1).length]
    writer.close()


async def test_a_disk_that_refuses_is_one_error_and_a_disk_that_hangs_another(disk: DiskThread):
    def full() -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with pytest.raises(errors.DiskFailed, match="no space left"):
        await disk.do(full)
    hang = threading.Event()
    with pytest.raises(errors.DiskFailed, match="no answer"):
        await disk.do(lambda: hang.wait(20), within_s=0.05)
    hang.set()
    assert await disk.do(lambda: 7) == 7


async def test_a_keeper_that_fails_ends_the_work_and_its_error_is_raised():
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    async def keep() -> None:
        raise errors.DiskFailed("gone")

    with pytest.raises(errors.DiskFailed, match="gone"):
        await beside(work(), keep())
    assert ended == ["work"]


async def test_work_that_ends_ends_its_keepers():
    async def work() -> int:
        return 7

    async def keep() -> None:
        await asyncio.Event().wait()

    assert await beside(work(), keep(), keep()) == 7


def test_an_engine_that_comes_back_has_the_whole_patience_again():
    health = Health(patience_s=10)
    health.troubled(Trouble.LOST, now=0, pause_s=0)
    assert not health.open
    assert health.left_s(4) == 6
    health.ready()
    assert health.open
    health.troubled(Trouble.LOST, now=9, pause_s=0)
    assert health.left_s(9) == 10


def test_an_engine_that_says_busy_to_all_wears_patience_out_until_it_answers_one():
    health = Health(patience_s=10)
    health.troubled(Trouble.BUSY, now=0, pause_s=3)
    assert health.wait_s(1) == 2
    health.ready()
    health.troubled(Trouble.BUSY, now=9, pause_s=0)
    assert health.left_s(9) == 1
    health.sound(9.5)
    assert health.left_s(30) == 10
