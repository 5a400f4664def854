"""What a person sees of a batch, and what a program reads."""

from __future__ import annotations

import io
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from batch.commands import screen
from batch.commands.standing_line import StandingLine
from batch.folder import Folder, Manifest
from batch.line_error import LineError
from batch.metrics import Metrics
from batch.outcome import FileSum, Outcome, Status
from batch.progress import RATE_OVER_S, SILENT_S, Progress, Rate, Stage
from batch.rules import Rules
from batch.use import Use
from tests.support.terminal import TerminalOf

METRICS = Metrics(
    response_time=10.0,
    throughput_tokens_per_second=800.0,
    total_tokens=8000,
    num_responses=498,
    lines_processed=500,
)
RUNNING = Progress(
    stage=Stage.RUNNING,
    total=1000,
    recorded=500,
    completed=498,
    failed=2,
    under_way=32,
    limit=32,
    rate=50.0,
    left_s=3725.0,
    use=Use(input_tokens=3000, output_tokens=5000),
    metrics=METRICS,
    started_at=1.0,
    at=2.0,
    epoch=3,
    resumed=2,
)
OVER = Outcome(
    status=Status.COMPLETED,
    total=1000,
    completed=998,
    failed=2,
    use=RUNNING.use,
    metrics=METRICS,
    output=FileSum(bytes=7, sha256="0" * 64, lines=998),
    error_file=FileSum(bytes=5, sha256="1" * 64, lines=2),
    started_at=1.0,
    ended_at=9.0,
    working_s=10.0,
    epoch=3,
)
FOLDER = Folder(Path("/batches/one"))
LONG = "the engine is away: " + "and away " * 9 + "for long"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a folder beside its input, with two lines that failed."""
    made = Folder(tmp_path / "in.jsonl.batch")
    made.make()
    (tmp_path / "in.jsonl").touch()
    errors = [
        {"custom_id": f"line-{n}", "error": {"code": "timed_out", "message": "no answer\x1b[2J"}}
        for n in range(2)
    ]
    made.errors.write_text("".join(f"{json.dumps(one)}\n" for one in errors))
    return made


def test_a_line_says_how_far_it_is():
    assert screen.as_line(RUNNING) == (
        "[############............]  50.0%  500 of 1,000  2 failed  50.0 lines/s  800 tokens/s"
        "  32 under way  1:02:05 left"
    )


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (Stage.VALIDATING, "reading the input"),
        (Stage.WAITING, "500 of 1,000  2 failed  waiting"),
        (Stage.DRAINING, "ending"),
        (Stage.FINALIZING, "writing the results"),
    ],
)
def test_a_line_says_what_it_is_at(stage: Stage, expected: str):
    assert expected in screen.as_line(replace(RUNNING, stage=stage, at=time.time()))


def test_of_one_that_ended_when_it_had_read_the_input_the_counts_are_shown():
    left = replace(RUNNING, stage=Stage.VALIDATING, at=time.time() - SILENT_S - 1)
    assert "500 of 1,000" in screen.as_line(left)
    # Nobody knows any yet.
    assert screen.as_line(replace(left, total=0)) == "reading the input …"


def test_before_the_first_answer_there_is_no_estimate():
    line = screen.as_line(replace(RUNNING, recorded=0, failed=0, rate=None, left_s=None))
    assert "left" not in line
    assert "lines/s" not in line


def test_the_end_says_what_there_is_and_where_and_why_lines_failed(folder: Folder):
    assert screen.as_text(OVER, folder) == (
        "completed: 998 of 1,000 lines answered, 2 failed, in 0:10\n"
        "  tokens  8,000, 800.0 tokens/s\n"
        f"  output  {folder.path}/output.jsonl\n"
        f"  errors  {folder.path}/errors.jsonl\n"
        "  why lines have no good answer:\n"
        "    2  timed_out, as of line-0: no answer\\x1b[2J\n"
        f"  again   python -m batch remaining {folder.path.parent}/in.jsonl > in-rest.jsonl\n"
    )


def test_whose_input_lies_elsewhere_is_told_the_folder(folder: Folder):
    folder.path.with_name("in.jsonl").unlink()
    assert f"remaining IN --folder {folder.path} > input-rest.jsonl" in screen.as_text(OVER, folder)
    folder.input.touch()
    again = f"remaining {folder.input} --folder {folder.path} > input-rest.jsonl"
    assert again in screen.as_text(OVER, folder)


def test_errors_that_were_moved_are_no_error(folder: Folder):
    folder.errors.unlink()
    assert "it cannot be read: No such file or directory" in screen.as_text(OVER, folder)
    stream = io.StringIO()
    screen.JsonLines(stream).end(OVER, folder)
    assert json.loads(stream.getvalue())["failures"] == {"file": str(folder.errors)}


def test_where_all_lines_have_an_answer_nothing_is_to_be_done_again():
    good = replace(OVER, completed=1000, failed=0, error_file=None)
    text = screen.as_text(good, FOLDER)
    assert "remaining" not in text
    assert "why" not in text


def test_an_end_before_the_end_says_how_many_lines_never_ran():
    text = screen.as_text(replace(OVER, status=Status.CANCELLED, completed=400), FOLDER)
    assert text.startswith("cancelled: 400 of 1,000 lines answered, 2 failed, 598 never ran")


def test_an_input_that_was_refused_is_told_with_its_mistakes():
    error = LineError(code="invalid_json", message="no JSON\x1b[2J", line=1234)
    refused = Outcome(
        status=Status.FAILED, errors=(error,), error_count=120, started_at=1, ended_at=2, epoch=1
    )
    text = screen.as_text(refused, FOLDER)
    assert "the input was refused, 120 mistakes" in text
    assert "line 1,234: invalid_json: no JSON" in text
    assert "and 119 more" in text
    assert "\x1b" not in text


def test_programs_get_one_object_a_line(folder: Folder):
    stream = io.StringIO()
    lines = screen.of(stream)
    for _ in range(3):
        lines.show(RUNNING)
    lines.show(replace(RUNNING, stage=Stage.DRAINING))
    lines.say("words")
    lines.end(OVER, folder)
    lines.leave()
    told = [json.loads(one) for one in stream.getvalue().splitlines()]
    assert [next(iter(one)) for one in told] == ["progress", "progress", "message", "outcome"]
    assert told[0]["progress"] == RUNNING.to_wire()
    assert told[-1]["failures"]["file"] == str(folder.errors)
    assert told[-1]["failures"]["lines"] == 2
    [code] = told[-1]["failures"]["codes"]
    assert (code["code"], code["lines"], code["custom_id"]) == ("timed_out", 2, "line-0")


def test_without_a_terminal_lines_are_plain_and_whole(folder: Folder):
    stream = io.StringIO()
    lines = screen.for_people(stream)
    for reason in ("", LONG, LONG):
        lines.show(replace(RUNNING, stage=Stage.WAITING, reason=reason))
    lines.say("first\nsecond\x1b[2J")
    lines.leave()
    bar = "[############............]  50.0%  500 of 1,000  2 failed  waiting"
    assert stream.getvalue() == f"{bar}\n{bar}  {LONG}\nfirst\nsecond\\x1b[2J\n"
    lines.end(OVER, folder)
    assert stream.getvalue().endswith("rest.jsonl\n")


def test_a_reason_that_does_not_fit_has_a_line_of_its_own():
    waiting = replace(RUNNING, stage=Stage.WAITING, reason=LONG)
    with TerminalOf(columns=90) as terminal:
        shown = screen.of(terminal.stream)
        shown.show(waiting)
        shown.show(waiting)
        shown.show(replace(waiting, reason="other " * 20))
        shown.leave()
        seen = terminal.seen
    bar = "[############............]  50.0%  500 of 1,000  2 failed  waiting"
    other = "other " * 20
    assert seen == f"{LONG}\r\n\r\x1b[K{bar}" + f"\r\x1b[K{bar}" + (
        f"\r\x1b[K{other}\r\n\r\x1b[K{bar}\r\n"
    )


def test_a_reason_that_fits_stands_in_the_line():
    waiting = replace(RUNNING, stage=Stage.WAITING, reason=f"{LONG}\x1b[2J")
    with TerminalOf(columns=300) as terminal:
        screen.of(terminal.stream).show(waiting)
        seen = terminal.seen
    assert seen.startswith("\r\x1b[K[####")
    assert seen.endswith(f"waiting  {LONG}\\x1b[2J")
    assert "\n" not in seen


def test_no_line_is_wider_than_its_terminal():
    with TerminalOf(columns=20) as terminal:
        line = StandingLine(terminal.stream)
        line.show("一" * 30)
        line.say("stays")
        line.show("e\u0301" * 30)
        seen = terminal.seen
    first, second = "一" * 9, "e\u0301" * 19
    assert seen == f"\r\x1b[K{first}\r\x1b[Kstays\r\n\r\x1b[K{second}"


def test_a_terminal_that_says_no_width_has_eighty_columns():
    with TerminalOf(columns=0) as terminal:
        StandingLine(terminal.stream).show("x" * 200)
        assert terminal.seen == "\r\x1b[K" + "x" * 79


@pytest.mark.parametrize("place", ["/dev/full", "pipe"])
def test_who_leaves_ends_no_run(place: str, folder: Folder):
    reader, writer = os.pipe()
    os.close(reader)
    if place != "pipe":
        os.close(writer)
        writer = os.open(place, os.O_WRONLY)
    with os.fdopen(writer, "w") as stream:
        lasting = screen.LastingScreen(screen.of(stream), stream)
        lasting.show(RUNNING)
        lasting.say("words")
        lasting.end(OVER, folder)
        lasting.leave()


def test_values_come_back_from_their_files_as_they_were():
    assert Progress.from_wire(json.loads(json.dumps(RUNNING.to_wire()))) == RUNNING
    over = replace(OVER, errors=(LineError(code="c", message="m"),), error_count=1)
    assert Outcome.from_wire(json.loads(json.dumps(over.to_wire()))) == over
    manifest = Manifest(
        seed="s",
        bytes=1,
        sha256="x",
        total=1,
        model="m",
        endpoint="/v1/completions",
        rules=Rules(most_lines=3),
        created_at=1.5,
    )
    assert Manifest.from_wire(json.loads(json.dumps(manifest.to_wire()))) == manifest


def test_the_rate_is_that_of_the_last_while():
    rate = Rate()
    assert rate.lines_per_s is None
    assert rate.left_s(5) is None
    rate.saw(0, 0)
    assert rate.lines_per_s is None
    rate.saw(10, 1000)
    assert rate.lines_per_s == 100
    for second in range(10, 10 + 2 * int(RATE_OVER_S)):
        rate.saw(second, 1000 + (second - 10))
    assert rate.lines_per_s == pytest.approx(1.0)
    assert rate.left_s(60) == pytest.approx(60)
    assert rate.left_s(0) == 0
