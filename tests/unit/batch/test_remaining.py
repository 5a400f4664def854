"""`remaining`: the lines of a batch that have no good answer, and no others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from batch import remaining
from batch.__main__ import main
from batch.folder import Folder, Manifest
from batch.input_file import InputFile
from batch.outcome import Outcome, Status
from batch.rules import Rules
from tests.support.batch_inputs import good_lines

Captured = pytest.CaptureFixture[bytes]


def record(line: bytes, status: int = 200) -> str:
    custom_id = json.loads(line)["custom_id"]
    response = {"status_code": status, "body": {}}
    return json.dumps({"custom_id": custom_id, "response": response, "error": None}) + "\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(3))
    return path


@pytest.fixture
def folder(source: Path) -> Folder:
    """Return the folder of a batch that is over: its second line has a good answer."""
    made = Folder(source.with_name("in.jsonl.batch"))
    made.make()
    content = source.read_bytes()
    made.put_manifest(
        Manifest(
            seed="s",
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            total=3,
            model="m",
            endpoint="/v1/chat/completions",
            rules=Rules(),
            created_at=1.0,
        )
    )
    made.output.write_text(record(content.splitlines()[1]))
    over = Outcome(status=Status.COMPLETED, total=3, started_at=1, ended_at=2, epoch=1)
    made.put_outcome(over)
    return made


def lines_of(source: Path) -> list[bytes]:
    return source.read_bytes().splitlines(keepends=True)


@pytest.mark.usefixtures("folder")
def test_lines_without_a_good_answer_are_printed_as_they_stand(
    source: Path, capfdbinary: Captured
) -> None:
    assert main(["remaining", str(source)]) == 0
    said = capfdbinary.readouterr()
    first, _, third = lines_of(source)
    assert said.out == first + third
    assert said.err == b"2 of 3 lines have no good answer\n"


def test_a_batch_without_answers_remains_as_a_whole(
    source: Path, folder: Folder, capfdbinary: Captured
) -> None:
    folder.output.unlink()
    assert main(["remaining", str(source), "--folder", str(folder.path)]) == 0
    assert capfdbinary.readouterr().out == source.read_bytes()


def test_where_all_have_an_answer_nothing_is_printed(
    source: Path, folder: Folder, capfdbinary: Captured
) -> None:
    folder.output.write_text("".join(map(record, lines_of(source))))
    assert main(["remaining", str(source)]) == 0
    assert capfdbinary.readouterr() == (b"", b"0 of 3 lines have no good answer\n")


def test_another_file_with_the_same_names_is_refused(
    source: Path, folder: Folder, capfdbinary: Captured
) -> None:
    source.write_bytes(source.read_bytes().replace(b'"model"', b'"model" '))
    assert main(["remaining", str(source), "--folder", str(folder.path)]) == 3
    said = capfdbinary.readouterr()
    assert said.out == b""
    assert b"not the file that was run" in said.err


def test_a_batch_that_goes_on_is_not_run_twice(
    source: Path, folder: Folder, capfdbinary: Captured
) -> None:
    folder.forget_outcome()
    assert main(["remaining", str(source)]) == 2
    said = capfdbinary.readouterr()
    assert said.out == b""
    assert b"is not over: `python -m batch run " in said.err


def test_what_is_wrong_is_said(source: Path, folder: Folder, capfdbinary: Captured) -> None:
    for words, status, told in (
        ((str(source), "--folder", "nothing"), 2, b"no line was run in nothing"),
        ((str(source), "--folder", str(source)), 2, b"is no batch folder"),
        (("missing.jsonl", "--folder", str(folder.path)), 3, b"there is no such file"),
    ):
        assert main(["remaining", *words]) == status
        assert told in capfdbinary.readouterr().err
    folder.output.write_text("no JSON\n")
    assert main(["remaining", str(source)]) == 6
    assert b"line 1 is no JSON object" in capfdbinary.readouterr().err


def test_what_nobody_can_read_remains_and_blank_lines_do_not(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    long = b'{"custom_id":"b","x":"' + b"x" * 400 + b'"}'
    path.write_bytes(b'{"custom_id":"a"}\r\n{"custom_id":["a"]}\nno JSON\n' + long + b"\n\n\r\n")
    found: list[bytes] = []
    with InputFile.open(path) as source:
        count = remaining.write_remaining(source, {"a"}, found.append, most_line_bytes=100)
    assert found == [b'{"custom_id":["a"]}\n', b"no JSON\n", long + b"\n"]
    assert count == 3
