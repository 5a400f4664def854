"""The site's directory: what hangs there holds up nothing, and is told in words without paths."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_functions.errors import DiskFailed, LeaseLost
from compute_functions.site_agent.disk import Disk


@pytest.fixture
def disk() -> Iterator[Disk]:
    with Disk(within_s=0.1) as disk:
        yield disk


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
    assert await disk.do(lambda: "back") == "back"
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
