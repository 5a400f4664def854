"""Private files: closed to others, replaced in one step, and gone when lent."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_functions import private_file


def test_a_file_is_replaced_and_closed_to_others(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)

    private_file.write(file, "new")

    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(OSError, match="folder"):
        private_file.write(tmp_path / "folder", "new")

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_lent_file_ends_with_its_block(tmp_path: Path) -> None:
    with private_file.lent(tmp_path / "key", "k"):
        assert (tmp_path / "key").read_text() == "k"

    assert not list(tmp_path.iterdir())
