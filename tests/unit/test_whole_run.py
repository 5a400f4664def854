"""A whole run of tests, in a project of its own: what is tried again, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import whole_run
from tests.support.whole_run import CACHE, FEW, few_failed

FLAKY = """
import pathlib
def test_flaky_{number}():
    tried = pathlib.Path("tried-{number}")
    if not tried.exists():
        tried.touch()
        raise AssertionError
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    return tmp_path


def with_flaky(project: Path, count: int) -> None:
    tests = "".join(FLAKY.format(number=number) for number in range(count))
    (project / "test_flaky.py").write_text(tests)


def test_few_that_fail_beside_others_alone_are_named(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with_flaky(project, FEW)
    assert whole_run.run(project) == 0
    said = capfd.readouterr().err
    unsteady = said[said.index("unsteady") :]
    assert all(f"test_flaky.py::test_flaky_{number}" in unsteady for number in range(FEW))


def test_what_fails_always_fails(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "test_bad.py").write_text("def test_bad(): raise AssertionError\n")
    assert whole_run.run(project) == 1
    said = capfd.readouterr().err
    assert "test_bad.py::test_bad" in said
    assert "unsteady" not in said


def test_many_are_not_tried_again(project: Path) -> None:
    with_flaky(project, FEW + 1)
    assert whole_run.run(project) == 1


def test_what_failed_before_and_is_gone_does_not_count(project: Path) -> None:
    (project / CACHE).parent.mkdir(parents=True)
    (project / CACHE).write_text(json.dumps({f"test_gone.py::test_{n}": True for n in range(FEW)}))
    with_flaky(project, 1)
    assert whole_run.run(project) == 0


@pytest.mark.parametrize("failed", ["gw1", "test_broken.py"])
def test_what_is_no_test_is_not_tried_again(project: Path, failed: str) -> None:
    (project / CACHE).parent.mkdir(parents=True)
    (project / CACHE).write_text(json.dumps({failed: True}))
    assert few_failed(project) == []
