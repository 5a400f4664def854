"""Which tests a whole run tries again, by what a real run of pytest leaves behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.failed import FEW, few_failed


def run_with(folder: Path, failing: int) -> None:
    """Run pytest on that many tests that fail, and on one that passes."""
    tests = "def test_good(): pass\n" + "".join(
        f"def test_bad_{number}(): assert False\n" for number in range(failing)
    )
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_some.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "xdist", "--numprocesses", "2"]
    subprocess.run(  # noqa: S603 # our own command
        command, cwd=folder, capture_output=True, check=False, timeout=60
    )


@pytest.mark.parametrize("failing", [1, FEW])
def test_a_few_that_failed_are_tried_again(tmp_path: Path, failing: int) -> None:
    run_with(tmp_path, failing)
    assert few_failed(tmp_path) == [f"test_some.py::test_bad_{number}" for number in range(failing)]


@pytest.mark.parametrize("failing", [0, FEW + 1])
def test_neither_none_nor_many_are_tried_again(tmp_path: Path, failing: int) -> None:
    run_with(tmp_path, failing)
    assert few_failed(tmp_path) == []
