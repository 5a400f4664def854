"""The desired state: none older than the last one is taken, and what was taken survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_functions.contract import DesiredModel, DesiredState
from compute_functions.site_agent.desires import Desires

MODEL = DesiredModel(
    model="m",
    framework="vllm",
    min=1,
    max=1,
    gpus=1,
    walltime_s=60.0,
    walltime_ratio=0.9,
    idle_timeout_s=60.0,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "desired.json"


def take(desires: Desires, desired: DesiredState) -> bool:
    changed = desires.offer(desired)
    desires.keep()
    return changed


def test_at_first_nothing_is_desired(path: Path) -> None:
    desires = Desires(path)
    desires.load()
    assert desires.current is None


def test_what_was_taken_is_there_for_the_next_agent(path: Path) -> None:
    desired = DesiredState(generation=1, revision=5, models=(MODEL,))
    assert take(Desires(path), desired)
    after = Desires(path)
    after.load()
    assert after.current == desired


@pytest.mark.parametrize("version", [(1, 4), (0, 9)])
def test_an_older_one_is_not_taken(path: Path, version: tuple[int, int]) -> None:
    desires = Desires(path)
    known = DesiredState(generation=1, revision=5, models=(MODEL,))
    take(desires, known)
    generation, revision = version
    assert not take(desires, DesiredState(generation=generation, revision=revision))
    assert desires.current == known


def test_a_new_generation_may_begin_below(path: Path) -> None:
    desires = Desires(path)
    take(desires, DesiredState(generation=1, revision=500))
    assert take(desires, DesiredState(generation=2, revision=1))


def test_the_same_again_changes_nothing(path: Path) -> None:
    desires = Desires(path)
    desired = DesiredState(generation=1, revision=5)
    take(desires, desired)
    assert not take(desires, desired)


@pytest.mark.parametrize("content", ["", "{half", "[]", '{"v": 99}', '{"v": 1, "models": 3}'])
def test_a_damaged_file_counts_as_none(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    desires = Desires(path)
    desires.load()
    assert desires.current is None
    assert take(desires, DesiredState(generation=1, revision=1))


def test_what_was_offered_counts_when_it_is_on_disk(path: Path) -> None:
    desires = Desires(path)
    path.mkdir()
    desires.offer(DesiredState(generation=1, revision=1))
    with pytest.raises(OSError, match="irectory"):
        desires.keep()
    assert desires.current is None
    assert desires.offered is not None
    path.rmdir()
    desires.keep()
    assert desires.current == DesiredState(generation=1, revision=1)
    assert desires.offered is None


def test_of_two_that_wait_the_newer_is_kept(path: Path) -> None:
    desires = Desires(path)
    desires.offer(DesiredState(generation=1, revision=2))
    assert not desires.offer(DesiredState(generation=1, revision=1))
    desires.keep()
    assert desires.current == DesiredState(generation=1, revision=2)
