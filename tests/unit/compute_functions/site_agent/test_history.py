"""History: the usual time of what was seen lately, also by the next agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_functions.site_agent import history
from compute_functions.site_agent.history import History, Loaded, Queued


def loaded(seconds: float) -> Loaded:
    return Loaded(model="m", framework="vllm", seconds=seconds)


def test_of_what_was_never_seen_nobody_knows(tmp_path: Path) -> None:
    known = History(tmp_path / "history.jsonl")
    known.load()
    assert known.load_s("m", "vllm") is None
    assert known.queue_s("gpu", 4) is None


def test_the_usual_time_is_the_middle_one(tmp_path: Path) -> None:
    known = History(tmp_path / "history.jsonl")
    for seconds in (10.0, 12.0, 900.0):
        known.add(loaded(seconds))
    known.add(Queued(partition="gpu", gpus=4, seconds=3.0))
    assert known.load_s("m", "vllm") == 12.0
    assert known.queue_s("gpu", 4) == 3.0
    assert known.queue_s("gpu", 8) is None


def test_what_was_long_ago_is_forgotten(tmp_path: Path) -> None:
    known = History(tmp_path / "history.jsonl")
    for _ in range(history.REMEMBERED):
        known.add(loaded(900.0))
    for _ in range(history.REMEMBERED):
        known.add(loaded(10.0))
    assert known.load_s("m", "vllm") == 10.0


def test_the_next_agent_knows_it_and_a_torn_line_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    before = History(path)
    before.add(loaded(10.0))
    with path.open("a", encoding="utf-8") as file:
        file.write('["loaded", "m", "vl')
    after = History(path)
    after.load()
    assert after.load_s("m", "vllm") == 10.0


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    known = History(path)
    for n in range(history.MOST_LINES + 10):
        known.add(loaded(float(n)))
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100
    after = History(path)
    after.load()
    assert after.load_s("m", "vllm") == known.load_s("m", "vllm")


def test_the_next_line_is_not_spoilt_by_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('["loaded", "m", "vl', encoding="utf-8")
    torn = History(path)
    torn.load()
    torn.add(loaded(10.0))
    after = History(path)
    after.load()
    assert after.load_s("m", "vllm") == 10.0


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-1", "1e300", "true", "[]"])
def test_what_no_time_can_be_is_not_learnt(tmp_path: Path, seconds: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(f'["loaded", "m", "vllm", {seconds}]\n', encoding="utf-8")
    known = History(path)
    known.load()
    assert known.load_s("m", "vllm") is None


def test_a_file_full_of_what_is_remembered_is_not_written_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    lines = [f'["loaded", "m{n}", "vllm", 1.0]\n' for n in range(history.MOST_LINES + 1)]
    path.write_text("".join(lines), encoding="utf-8")
    known = History(path)
    known.load()
    inode = path.stat().st_ino
    known.add(loaded(10.0))
    assert path.stat().st_ino == inode
