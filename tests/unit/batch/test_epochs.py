"""Whose turn it is, when several take theirs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batch import errors, whole_file
from batch.epochs import Epochs


def test_numbers_are_taken_in_turn(tmp_path: Path):
    epochs = Epochs(tmp_path)
    assert [epochs.highest(), epochs.take(), epochs.take(), epochs.highest()] == [0, 1, 2, 2]
    epochs.require(2)
    with pytest.raises(errors.TakenOver) as caught:
        epochs.require(1)
    assert (caught.value.own, caught.value.highest) == (1, 2)


def test_a_number_may_be_named_and_must_be_above_all(tmp_path: Path):
    epochs = Epochs(tmp_path)
    assert epochs.take(7) == 7
    for taken in (7, 3):
        with pytest.raises(errors.TakenOver):
            epochs.take(taken)
    assert epochs.take() == 8


def test_numbers_are_compared_as_numbers(tmp_path: Path):
    epochs = Epochs(tmp_path)
    epochs.take(9)
    assert epochs.take() == 10
    assert epochs.take() == 11


def test_of_many_at_once_each_gets_another(tmp_path: Path):
    epochs = Epochs(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: epochs.take(), range(40)))
    assert sorted(taken) == list(range(1, 41))
    assert all("pid" in json.loads((tmp_path / str(one)).read_text()) for one in taken)


def test_what_is_no_number_is_left_alone(tmp_path: Path):
    (tmp_path / ".7.abcd").touch()
    (tmp_path / "x").touch()
    assert Epochs(tmp_path).take() == 1


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Epochs(tmp_path / "gone").require(1)


def test_a_file_is_created_once_and_whole(tmp_path: Path):
    path = tmp_path / "file"
    assert whole_file.create(path, b"first")
    assert not whole_file.create(path, b"second")
    assert path.read_bytes() == b"first"
    whole_file.replace(path, b"third")
    assert path.read_bytes() == b"third"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_file_without_an_object_is_none(tmp_path: Path, content: bytes):
    (tmp_path / "file").write_bytes(content)
    assert whole_file.read_object(tmp_path / "file") is None
    assert whole_file.read_object(tmp_path / "no file") is None
