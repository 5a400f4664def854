"""Wrong words at the command line, and words of others that reach the terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from batch.__main__ import main
from batch.client.commands.ending import as_text, status_of_batch
from batch.client.commands.telling import JsonLines, Words, as_line, look
from batch.client.hosted import Hosted
from batch.client.token import token_from
from batch.client.watching import Seen
from batch.commands import failures
from tests.support.terminal import TerminalOf

#: Of a gateway that is asked nothing.
RESULTS = ("results", "batch_1", "--base-url", "http://127.0.0.1:9/v1", "--timeout", "0")


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "HOTNODE_TOKEN_COMMAND", "HOTNODE_BATCH_COMMAND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "t")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("list",), "OPENAI_BASE_URL"),
        (("list", "--base-url", "gateway/v1"), "is no base URL"),
        (("list", "--base-url", "http://[::1/v1"), "is no base URL"),
        (("list", "--base-url", "http://gateway:port/v1"), "is no base URL"),
        (("list", "--base-url", "http://my gateway/v1"), "is no base URL"),
        (("watch", ""), "is no batch's id"),
        ((*RESULTS, "--output", "x", "--errors", "./x"), "name the same file"),
        ((*RESULTS, "--output", "/dev/null"), "/dev/null is no file"),
        ((*RESULTS, "--errors", "."), ". is no file"),
        ((*RESULTS, "--output", "no/x"), "no: there is no such folder"),
        (("cancel", "a\nb"), "is no batch's id"),
        (("submit", "in.jsonl", "--output-folder", "/x"), "--site-path"),
        (("submit", "in.jsonl", "--metadata", "x"), "KEY=VALUE"),
        (("submit", "in.jsonl", "--site-path", "/x"), "not allowed with"),
        (("submit",), "FILE"),
        (("list", "--limit", "0"), "no whole number above 0"),
        (("watch", "batch_1", "--timeout", "-1"), "no number of seconds"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_named(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(words)
    except SystemExit as left:
        status = int(str(left.code))
    assert status == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (f"{sys.executable} -c 'raise SystemExit(\"Log in first\")'", 5, "Log in first"),
        (f"{sys.executable} -c 'print()'", 5, "is no token"),
        (f"{sys.executable} -c 'print(\"two words\")'", 5, "is no token"),
        ("/nonexistent/command", 2, "cannot run"),
        ("'", 2, "is no command"),
        (" ", 2, "is empty"),
    ],
)
def test_a_command_without_a_token_is_told(
    command: str, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base_url = "http://127.0.0.1:9/v1"
    assert main(["list", "--base-url", base_url, "--token-command", command]) == status
    assert told in capsys.readouterr().err


def test_who_has_set_nothing_is_told_what_works_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CLIENT_ID", "GATEWAY_ID", "CONFIG"):
        monkeypatch.delenv(f"HOTNODE_AUTH_{name}", raising=False)
    assert main(["list", "--base-url", "http://127.0.0.1:9/v1"]) == 5
    _, first, second, third = capsys.readouterr().err.splitlines()
    assert "set HOTNODE_AUTH_CLIENT_ID and HOTNODE_AUTH_GATEWAY_ID" in first
    assert "write client_id and gateway_id" in second
    assert "if you call inference_auth_token.py yourself" in third


def test_a_refused_login_is_told_by_the_gateway_or_else_by_us() -> None:
    login = token_from({}, None)
    assert login.advice("Log in again.") == ": Log in again."
    assert "inference_auth_token.py authenticate" in login.advice("")


def hosted(**values: object) -> Hosted:
    counts = {"total": 200, "completed": 50, "failed": 2}
    return Hosted.from_wire(
        {"id": "batch_1", "status": "in_progress"} | {"request_counts": counts} | values
    )


def test_the_line_has_counts_rate_and_estimate() -> None:
    line = as_line(Seen(batch=hosted(), rate=12.34, left_s=61.0))
    assert line.endswith("in_progress  52 of 200  2 failed  12.3 lines/s  1:01 left")
    assert " 26.0%" in line


def test_for_what_it_waits_stands_in_place_of_the_estimate() -> None:
    err, reason = io.StringIO(), "waiting: site unreachable, " * 10
    look(Words(io.StringIO(), err))(Seen(batch=hosted(reason=reason), rate=None, left_s=61.0))
    assert err.getvalue().endswith(f"52 of 200  2 failed  {reason}\n")


def test_on_a_terminal_a_long_reason_has_a_line_of_its_own() -> None:
    reason = "waiting: site unreachable, " * 10
    with TerminalOf(columns=70) as terminal:
        tell = look(Words(io.StringIO(), terminal.stream))
        for _ in range(2):
            tell(Seen(batch=hosted(reason=reason), rate=None, left_s=None))
        seen = terminal.seen
    line = "\r\x1b[K[######..................]  26.0%  in_progress  52 of 200  2 failed"
    assert seen.replace("\r\n", "\n") == f"{reason}\n{line}{line}"


@pytest.mark.parametrize(
    ("status", "failed", "expected"),
    [
        ("completed", 0, 0),
        ("completed", 1, 1),
        ("failed", 0, 3),
        ("cancelled", 0, 4),
        ("expired", 3, 4),
    ],
)
def test_the_exit_status_says_how_it_ended(status: str, failed: int, expected: int) -> None:
    counts = {"total": 5, "completed": 5 - failed, "failed": failed}
    assert status_of_batch(hosted(status=status, request_counts=counts)) == expected


def test_mistakes_are_listed_and_counted() -> None:
    data = [{"code": "invalid_json", "message": f"m{n}", "line": n} for n in range(12)]
    text = as_text(hosted(status="failed", errors={"data": data}))
    assert "line 3: invalid_json: m3\n" in text
    assert "and 2 more" in text


def test_the_end_says_why_lines_failed_and_of_how_many_that_is_known() -> None:
    why = failures.of_lines([b'{"custom_id":"a","error":{"code":"c","message":"m"}}'] * 2)
    text = as_text(hosted(status="completed"), why)
    assert "  why lines have no good answer (of the first 2 of 150 lines):\n" in text
    assert "    2  c, as of a: m\n" in text
    assert "why" not in as_text(hosted(status="completed"))


def test_others_words_cannot_move_the_cursor() -> None:
    out, err = io.StringIO(), io.StringIO()
    words = Words(out, err)
    words.say("a\x1b[2Jb")
    words.progress("c\rd", {"stage": "s"})
    assert "\x1b" not in err.getvalue()
    assert "\r" not in err.getvalue()
    assert "\x1b" not in as_text(hosted(reason="\x1b[2J"))


def test_without_a_terminal_progress_is_told_now_and_then() -> None:
    out, err = io.StringIO(), io.StringIO()
    words, lines = Words(out, err), JsonLines(out)
    for teller in (words, lines):
        for stage in ("sending", "sending", "watching"):
            teller.progress(stage, {"stage": stage})
    assert err.getvalue() == "sending\nwatching\n"
    assert out.getvalue().count("\n") == 2
