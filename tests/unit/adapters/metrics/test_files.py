from __future__ import annotations

import os
from pathlib import Path

import pytest

from resource_server.adapters.metrics import files


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


def written(directory: Path, name: str, *, content: bytes = b"x", age_s: float = 0) -> Path:
    file = directory / name
    file.write_bytes(content)
    then = file.stat().st_mtime - age_s
    os.utime(file, (then, then))
    return file


def names(directory: Path) -> set[str]:
    return {Path(name).name for name in files.readable(directory)}


def test_a_file_that_was_just_created_breaks_nothing(directory):
    written(directory, "counter_a-1.db")
    written(directory, "counter_a-2.db", content=b"")
    assert names(directory) == {"counter_a-1.db"}


def test_of_a_process_that_is_gone_only_what_it_counted_stays(directory):
    for kind in ("counter", "histogram", "gauge_livesum", "gauge_livemostrecent"):
        written(directory, f"{kind}_a-1.db", age_s=files.GONE_AFTER_S + 1)
        written(directory, f"{kind}_a-2.db")
    assert names(directory) == {
        *(f"{kind}_a-2.db" for kind in ("gauge_livesum", "gauge_livemostrecent")),
        *(f"{kind}_a-{n}.db" for kind in ("counter", "histogram") for n in (1, 2)),
    }


def test_the_one_that_starts_all_processes_empties_the_directory(directory):
    written(directory, "counter_a-1.db")
    kept = written(directory, "readme.txt")
    files.empty(directory)
    assert list(directory.iterdir()) == [kept]


def test_a_directory_that_is_not_there_is_empty(directory):
    files.empty(directory / "none")


def test_without_sharing_there_is_nothing_to_touch():
    assert files.shared_directory() is None
    files.show_life()
