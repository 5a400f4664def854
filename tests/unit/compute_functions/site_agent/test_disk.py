"""The site's directory: what hangs there holds up nothing, and is told in words without paths."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from compute_functions.errors import DiskFailed, LeaseLost
from compute_functions.site_agent.disk import Disk


@pytest.fixture
def disk() -> Iterator[Disk]:
    with Disk(within_s=0.1) as disk:
        yield disk


async def answered(disk: Disk) -> str:
    """Return what a disk that hung says, once a busy machine has let its thread run."""
    async with asyncio.timeout(20):
        while True:
            with suppress(DiskFailed):
                return await disk.do(lambda: "back")


async def test_what_is_done_is_returned_and_what_fails_otherwise_is_raised(disk: Disk) -> None:
    def lose() -> None:
        raise LeaseLost("gone")

    assert await disk.do(lambda: 3) == 3
    with pytest.raises(LeaseLost):
        await disk.do(lose)


async def test_a_disk_that_hangs_is_given_up_and_nothing_is_begun_behind_it(disk: Disk) -> None:
    back, done = threading.Event(), []
    with pytest.raises(DiskFailed, match=r"did not answer in 0\.1 s"):
        await disk.do(lambda: back.wait(30))
    for _ in range(3):
        with pytest.raises(DiskFailed):
            await disk.do(lambda: done.append("late"))
    back.set()
    assert await answered(disk) == "back"
    assert done == []


async def test_an_error_names_the_file_and_not_its_folder(disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match=r"No such file or directory \(missing\)") as failed:
        await disk.do((tmp_path / "missing").read_text)
    assert str(tmp_path) not in str(failed.value)


async def test_a_disk_that_says_itself_that_it_timed_out_is_no_hang(disk: Disk) -> None:
    def time_out() -> None:
        raise TimeoutError(110, "Connection timed out")

    with pytest.raises(DiskFailed, match="Connection timed out"):
        await disk.do(time_out)


async def test_who_is_cancelled_has_nothing_begun_that_still_waits(disk: Disk) -> None:
    back, done = threading.Event(), []
    with pytest.raises(DiskFailed):
        await disk.do(lambda: back.wait(30))
    waiting = asyncio.create_task(disk.do(lambda: done.append("late")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    back.set()
    assert await answered(disk) == "back"
    assert done == []


async def test_a_disk_that_is_closed_begins_nothing_more() -> None:
    begun, back, done = threading.Event(), threading.Event(), []

    def hang() -> None:
        begun.set()
        assert back.wait(30)

    with Disk(within_s=2.0) as disk:
        hangs = asyncio.create_task(disk.do(hang))
        assert await asyncio.to_thread(begun.wait, 20)
        waiting = asyncio.create_task(disk.do(lambda: done.append("late")))
        await asyncio.sleep(0)
    back.set()
    await asyncio.wait({hangs, waiting})
    assert isinstance(waiting.exception(), DiskFailed)
    assert done == []


HANGS = """
import asyncio, threading
from compute_functions.errors import DiskFailed
from compute_functions.site_agent.disk import Disk

async def main():
    with Disk(within_s=0.05) as disk:
        try:
            await disk.do(threading.Event().wait)
        except DiskFailed as error:
            print(error)

asyncio.run(main())
"""


def test_the_end_of_the_process_waits_for_no_disk() -> None:
    ended = subprocess.run(  # noqa: S603 # our own interpreter, and no shell
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "the site's directory: it did not answer in 0.05 s\n"
