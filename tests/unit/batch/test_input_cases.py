"""The files that people send by mistake, each with the one error that says what it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batch.folder import Folder
from batch.job import Job
from batch.outcome import Status
from batch.runner import Runner
from batch.transports.transport import EngineLoad, Reply, Request
from tests.support.batch_inputs import encoded, good_lines, request, validated

GOOD, MARK = good_lines(2), b"\xef\xbb\xbf"
THIRD = encoded(request("third"))
LONG = b'"' + b"x" * 10 * 1024**2 + b'"\n'


class NobodyAsks:
    """An engine that no line of these files may reach."""

    name = "nowhere"

    async def ask(self, request: Request) -> Reply:
        raise AssertionError("a line of a bad file was asked")

    async def ready(self) -> bool:
        return True

    async def load(self) -> EngineLoad | None:
        return None


@pytest.mark.parametrize(
    ("content", "line", "code", "words"),
    [
        (b"", None, "empty_file", "no lines"),
        (MARK, None, "empty_file", "no lines"),
        (b"\r\n \r\n", None, "empty_file", "no lines"),
        (GOOD + THIRD.replace(b"water", b"w\xe4ter"), 3, "invalid_encoding", "UTF-8"),
        (GOOD + THIRD.replace(b"water", b"wa\0ter"), 3, "invalid_encoding", "NUL"),
        (GOOD + b"\0" * 5000, 3, "invalid_encoding", "NUL"),
        (GOOD + encoded(request("request-0")), 3, "duplicate_custom_id", "line 1"),
        (GOOD + THIRD[:-20], 3, "truncated", "breaks off"),
        (GOOD + THIRD[:-20] + b"\n", 3, "invalid_json", "JSON"),
        (GOOD + LONG, 3, "line_too_long", "at most 10485760"),
        (GOOD + MARK + THIRD, 3, "invalid_json", "JSON"),
        (GOOD + b"\r\n" + THIRD, 3, "empty_line", "is empty"),
    ],
)
def test_what_is_wrong_is_told_precisely(
    tmp_path: Path, content: bytes, line: int | None, code: str, words: str
) -> None:
    (found,) = validated(tmp_path / "in.jsonl", content).errors
    assert (found.line, found.code) == (line, code)
    assert words in found.message


@pytest.mark.parametrize(
    "content", [MARK + GOOD, GOOD.replace(b"\n", b"\r\n"), GOOD[:-1], GOOD + b"\r\n\r\n"]
)
def test_what_does_no_harm_is_taken(tmp_path: Path, content: bytes) -> None:
    found = validated(tmp_path / "in.jsonl", content)
    assert (found.errors, found.total) == ((), 2)


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a folder"])
async def test_a_runner_refuses_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "in.jsonl", tmp_path / "other"
    other.write_bytes(GOOD)
    make = {"a link": lambda: path.symlink_to(other), "a pipe": lambda: os.mkfifo(path)}
    make.get(kind, path.mkdir)()
    job = Job(folder=Folder(tmp_path / "batch"), input=path)
    outcome = await Runner(job, NobodyAsks(), tell=lambda _: None).run()
    assert outcome.status is Status.FAILED
    (found,) = outcome.errors
    assert (found.code, found.message) == (
        "not_a_file",
        f"the input is {kind}, not a regular file",
    )


async def test_a_runner_refuses_a_file_that_is_bad_and_asks_for_none_of_its_lines(
    tmp_path: Path,
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(GOOD + THIRD[:-20])
    job = Job(folder=Folder(tmp_path / "batch"), input=path)
    outcome = await Runner(job, NobodyAsks(), tell=lambda _: None).run()
    assert (outcome.status, outcome.error_count, outcome.errors[0].code) == (
        Status.FAILED,
        1,
        "truncated",
    )
