"""The private folder of an instance on its node: claimed once, and cleared of what others left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from compute_functions import runtime_directory
from compute_functions.errors import AlreadyRunning

_ROOT = Path(runtime_directory.__file__).parents[1]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a folder with a short path: sockets' paths must fit into 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="hotnode-test-") as path:
        yield Path(path)


def ours(root: Path) -> Path:
    return root / f"hotnode-{os.getuid()}"


def test_an_instance_that_ends_leaves_nothing(tmp_path: Path) -> None:
    with runtime_directory.claimed(tmp_path, "one") as directory:
        assert directory.path.stat().st_mode & 0o777 == 0o700
        directory.socket.write_text("")
    assert list(ours(tmp_path).iterdir()) == []


def test_a_name_is_claimed_once_and_can_be_claimed_again(tmp_path: Path) -> None:
    with runtime_directory.claimed(tmp_path, "one") as directory:
        with pytest.raises(AlreadyRunning), runtime_directory.claimed(tmp_path, "one"):
            raise AssertionError
        assert directory.path.is_dir()
    with runtime_directory.claimed(tmp_path, "one"):
        pass


#: Dies while it holds a folder.
_DIES = """
import os, sys, pathlib
from compute_functions import runtime_directory
with runtime_directory.claimed(pathlib.Path(sys.argv[1]), sys.argv[2]) as directory:
    directory.socket.write_text("")
    os._exit(9)
"""
#: Claims a folder again and again; fails if somebody else holds it meanwhile.
_CLAIMS = """
import sys, pathlib
from compute_functions import errors, runtime_directory
root = pathlib.Path(sys.argv[1])
sys.stdin.read()
for _ in range(2000):
    try:
        with runtime_directory.claimed(root, "one") as directory:
            (root / "held").mkdir()
            assert directory.path.is_dir()
            (root / "held").rmdir()
    except errors.AlreadyRunning:
        continue
"""


def killed(root: Path, identity: str) -> Path:
    """Return what an instance leaves that was killed."""
    done = subprocess.run(  # noqa: S603 # our own program, and folders of a test
        [sys.executable, "-c", _DIES, str(root), identity], cwd=_ROOT, timeout=60, check=False
    )
    assert done.returncode == 9
    (left,) = [path for path in ours(root).iterdir() if path.is_dir()]
    return left


def test_what_a_killed_instance_left_goes_with_the_next_one_of_any_name(tmp_path: Path) -> None:
    """No name comes twice: nobody else would ever remove it."""
    left = killed(tmp_path, "one")
    assert (left / "engine.sock").exists()
    with runtime_directory.claimed(tmp_path, "another") as directory:
        assert not left.exists()
        assert {path.stem for path in ours(tmp_path).iterdir()} == {directory.path.stem}


def test_what_lives_is_left_alone(tmp_path: Path) -> None:
    with runtime_directory.claimed(tmp_path, "one") as first:
        first.socket.write_text("")
        with runtime_directory.claimed(tmp_path, "another"):
            assert first.socket.exists()
        with pytest.raises(AlreadyRunning), runtime_directory.claimed(tmp_path, "one"):
            raise AssertionError


def test_a_lock_that_is_removed_is_never_held_twice(tmp_path: Path) -> None:
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                subprocess.Popen(  # noqa: S603 # likewise
                    [sys.executable, "-c", _CLAIMS, str(tmp_path)], cwd=_ROOT, stdin=subprocess.PIPE
                )
            )
            for _ in range(2)
        ]
        for process in both:
            assert process.stdin is not None
            process.stdin.close()
        assert [process.wait(120) for process in both] == [0, 0]
