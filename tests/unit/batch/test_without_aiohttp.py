"""A clone on a machine without aiohttp: what needs no network works, the rest says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.batch_inputs import good_lines

#: Runs the command as where there is no aiohttp, nor what comes with it.
BARE = """
import sys
sys.modules.update(aiohttp=None, yarl=None)
from batch.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
ADDRESS = ("--base-url", "http://127.0.0.1:9/v1", "--token-command", "echo token")


def bare(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    command = [sys.executable, "-c", BARE, *words]
    return subprocess.run(  # noqa: S603 - our own interpreter
        command,
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a good file."""
    (tmp_path / "in.jsonl").write_bytes(good_lines(2))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("validate", "in.jsonl"), 0, "in.jsonl: good"),
        (("status", "none"), 2, "there is no batch in none"),
        (("remaining", "in.jsonl"), 2, "no line was run in in.jsonl.batch"),
        (("run", "--help"), 0, "--url"),
        (("run", "in.jsonl", "--no-engine"), 4, "the input is good"),
        (("submit", "--help"), 0, "--base-url"),
    ],
)
def test_what_asks_nobody_works(
    folder: Path, words: tuple[str, ...], status: int, told: str
) -> None:
    ran = bare(folder, *words)
    assert ran.returncode == status, ran.stderr
    assert told in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("run", "in.jsonl"),
        ("submit", "in.jsonl", *ADDRESS),
        ("list", *ADDRESS),
        ("watch", "batch_1", *ADDRESS),
    ],
)
def test_what_asks_somebody_says_in_one_line_what_to_install(
    folder: Path, words: tuple[str, ...]
) -> None:
    ran = bare(folder, *words)
    assert ran.returncode == 2
    assert ran.stdout == ""
    [line] = ran.stderr.splitlines()
    assert "pip install '.[batch,login]'" in line
    assert [path.name for path in folder.iterdir()] == ["in.jsonl"]
