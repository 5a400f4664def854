"""Ctrl-C, readers that leave, full disks, closed streams: a few words, and never a traceback."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.stand_in import clean_environment
from tests.support.batch_client import LONG_S, ROOT, Person
from tests.support.batch_runs import line, write_input
from tests.support.eventually import soon
from tests.support.troubled_gateway import GatewayThatBreaksOff, serving

OUTPUT = b'{"custom_id":"a","response":{"status_code":200,"body":{}},"error":null}\n' * 5_000
ERRORS = b'{"custom_id":"b","response":null,"error":{"code":"timed_out","message":"too late"}}\n'
OVER = {
    "id": "batch_0",
    "status": "completed",
    "request_counts": {"total": 5_001, "completed": 5_000, "failed": 1},
    "output_file_id": "file-out",
    "error_file_id": "file-err",
}


@pytest.fixture
def troubled() -> GatewayThatBreaksOff:
    """Return a gateway that has one batch, which is over."""
    return GatewayThatBreaksOff(
        files={"file-out": OUTPUT, "file-err": ERRORS}, batches={"key": dict(OVER)}
    )


@pytest.fixture
async def somebody(troubled: GatewayThatBreaksOff, tmp_path: Path) -> AsyncIterator[Person]:
    """Return somebody at that gateway, with an input."""
    write_input(tmp_path / "in.jsonl", (line(number) for number in range(3)))
    async with serving(troubled) as url:
        try:
            yield Person(folder=tmp_path, base_url=url, token="good")
        finally:
            troubled.let.set()


async def shell(somebody: Person, script: str) -> tuple[int, str]:
    """Return how a shell's command ended in which `batch` is the program, and what was said."""
    program = shlex.join([sys.executable, "-P", "-m", "batch"])
    environment = clean_environment() | {"OPENAI_BASE_URL": somebody.base_url}
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'batch() {{ {program} "$@"; }}; {script}'),
        cwd=somebody.folder,
        # A disk that is full must not have half of a compiled module on it for others.
        env=environment
        | {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": somebody.token}
        | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(LONG_S):
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


@pytest.mark.parametrize(
    ("script", "status", "told"),
    [
        ("(batch results batch_0 --json; echo left $? >&2) | true", 0, "left 141\n"),
        ("(batch watch batch_0 2>&1; echo left $? >&3) 3>&1 | true", 0, ""),
        ("(batch validate in.jsonl; echo left $? >&2) | true", 0, "left 141\n"),
        ("batch validate in.jsonl >/dev/full", 6, "the output cannot be written: No space left"),
        ("batch list --json >/dev/full 2>/dev/full", 6, ""),
        ("batch watch batch_0 >&- 2>&-", 1, ""),
    ],
)
async def test_where_output_cannot_be_written_a_command_ends_in_a_few_words(
    somebody: Person, script: str, status: int, told: str
) -> None:
    ended, said = await shell(somebody, script)
    assert ended == status
    assert said.startswith(told)
    assert said.count("\n") <= 1
    assert "Traceback" not in said


async def test_names_and_words_that_a_terminal_has_no_letters_for_are_written(
    somebody: Person,
) -> None:
    name = os.fsdecode(b"\xff.jsonl")
    ended, said = await shell(
        somebody, f"export PYTHONIOENCODING=ascii; batch submit --watch {shlex.quote(name)}"
    )
    assert ended == 3
    assert "refused, 1 mistake" in said


async def test_the_end_of_a_watch_says_why_lines_failed(
    somebody: Person, troubled: GatewayThatBreaksOff
) -> None:
    watched = await somebody.batch("watch", "batch_0")
    assert watched.status == 1
    assert "    1  timed_out, as of b: too late\n" in watched.out
    told = await somebody.batch("watch", "batch_0", "--json")
    assert told.lines[-1]["failures"]["codes"][0]["code"] == "timed_out"
    # Who cannot have the file is told how it ended all the same.
    del troubled.batches["key"]["error_file_id"]
    assert "why" not in (await somebody.batch("watch", "batch_0")).out
    troubled.batches["key"]["error_file_id"] = "file-err"
    troubled.cut_downloads = [0]
    watched = await somebody.batch("watch", "batch_0")
    assert watched.status == 1
    assert "why lines failed cannot be read now" in watched.err
    assert "5,000 of 5,001 lines answered, 1 failed" in watched.out


async def test_results_say_why_lines_failed(somebody: Person) -> None:
    fetched = await somebody.batch("results", "batch_0")
    assert fetched.status == 1
    assert fetched.out == (
        f"  output  batch_0.output.jsonl, {len(OUTPUT):,} bytes\n"
        f"  errors  batch_0.errors.jsonl, {len(ERRORS):,} bytes\n"
        "  why lines have no good answer:\n"
        "    1  timed_out, as of b: too late\n"
    )
    [told] = [
        one["results"]
        for one in (await somebody.batch("results", "batch_0", "--json")).lines
        if "results" in one
    ]
    assert told["failures"]["lines"] == 1


async def test_a_refusal_says_its_code(somebody: Person) -> None:
    said = await somebody.batch("watch", "batch_1")
    assert said.status == 5
    assert said.err.endswith("(404 c)\n")


@pytest.mark.parametrize(
    ("held", "words", "told"),
    [
        ("POST /v1/files", ("submit", "in.jsonl"), "in.jsonl was not sent, and no batch was made"),
        ("POST /v1/batches", ("submit", "in.jsonl"), "`list` shows whether the batch was made"),
        ("GET /v1/files/file-out/content", ("results", "batch_0"), "the same command goes on"),
        ("GET /v1/batches/batch_0", ("watch", "batch_0"), "batch_0 goes on without you"),
    ],
)
async def test_who_is_interrupted_is_told_how_it_stands(
    somebody: Person, troubled: GatewayThatBreaksOff, held: str, words: tuple[str, ...], told: str
) -> None:
    troubled.held = held
    async with somebody.begun(*words) as running:
        await soon(troubled.came, seconds=LONG_S)
        running.process.send_signal(signal.SIGINT)
        ended = await running.ended()
    assert ended.status == 130
    assert told in ended.err
    assert "Traceback" not in ended.err


async def test_a_full_disk_is_said_and_leaves_no_half_file(somebody: Person) -> None:
    for words in ("results batch_0", "results batch_0 --merge"):
        ended, said = await shell(somebody, f"ulimit -f 1; trap '' XFSZ; batch {words}")
        assert ended == 6
        assert "File too large" in said
        assert "Traceback" not in said
        assert not (somebody.folder / "batch_0.output.jsonl").exists()


async def test_answers_that_are_none_are_not_merged_and_leave_no_half_file(
    somebody: Person, troubled: GatewayThatBreaksOff
) -> None:
    troubled.files["file-out"] = OUTPUT + b"no JSON\n"
    said = await somebody.batch("results", "batch_0", "--merge")
    assert said.status == 6
    assert "line 5001 is no JSON object" in said.err
    found = {path.name for path in somebody.folder.iterdir()}
    assert found == {"in.jsonl", "results.stderr"}


async def test_without_a_folder_for_temporary_files_one_is_told(somebody: Person) -> None:
    ended, said = await shell(somebody, "ulimit -f 0; trap '' XFSZ; batch resume batch_0")
    assert ended == 6
    assert "No usable temporary directory" in said
    assert "Traceback" not in said


async def test_status_that_is_interrupted_ends_quietly(somebody: Person) -> None:
    folder = somebody.folder / "batch"
    folder.mkdir()
    (folder / "progress.json").write_text(
        '{"stage":"running","use":{},"metrics":null,"started_at":1,"at":1,"epoch":1}'
    )
    async with somebody.begun("status", "--watch", folder) as running:
        assert running.process.stdout is not None
        async with asyncio.timeout(LONG_S):
            await running.process.stdout.readline()
        running.process.send_signal(signal.SIGINT)
        ended = await running.ended()
    assert ended.status == 0
    assert ended.err == ""
