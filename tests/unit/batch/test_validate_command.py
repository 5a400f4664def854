"""`python -m batch validate`: what it prints, and its exit status."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from batch.__main__ import main
from batch.rules import RESERVED_BY_GATEWAYS, Rules
from resource_server.domain.inference import RESERVED_EVERYWHERE
from tests.support.batch_inputs import CHAT, EMBEDDINGS, MODEL, encoded, good_lines, request

#: Runs the command, and says at last how much memory this program held at most (KB).
MEASURED = """
import sys
from batch.__main__ import main
status = main(sys.argv[1:])
with open("/proc/self/status") as file:
    (most,) = (line.split()[1] for line in file if line.startswith("VmHWM:"))
sys.stderr.write(most)
sys.exit(status)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a good file."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(1_200))
    return path


def test_a_good_file_in_words(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"{path}: good\n" in out
    assert "lines     1,200\n" in out
    assert MODEL in out
    assert CHAT in out
    assert "inputs" not in out


def test_embedding_inputs_are_told(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = {"model": MODEL, "input": ["a", "b"]}
    path.write_bytes(encoded(request(url=EMBEDDINGS, body=body)))
    assert main(["validate", str(path)]) == 0
    assert "lines     1, 2 inputs\n" in capsys.readouterr().out


def test_mistakes_in_a_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(good_lines(2) + b"{}\n" + b"\xff\n" * 1_100)
    assert main(["validate", str(path)]) == 3
    title, head, first, *_, last = capsys.readouterr().out.splitlines()
    assert title == f"{path}: refused, 1,104 mistakes"
    assert head.split() == ["line", "code", "field", "what", "is", "wrong"]
    assert first.split(maxsplit=3) == [
        "3",
        "missing_custom_id",
        "custom_id",
        "there is no custom_id",
    ]
    assert last == "  and 1,004 more"


def test_one_mistake(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(b"")
    assert main(["validate", str(path)]) == 3
    title, _, row = capsys.readouterr().out.splitlines()
    assert title.endswith("refused, 1 mistake")
    assert row.split(maxsplit=1)[0] == "empty_file"


def test_what_stands_in_a_file_cannot_steer_a_terminal(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x9b2J\u202e"
    lines = encoded(request(evil), request(evil), request("b", url=evil))
    (path.parent / evil).write_bytes(lines)
    assert main(["validate", str(path.parent / evil)]) == 3
    assert capsys.readouterr().out.replace("\n", "").isprintable()


def test_it_is_a_program(path: Path) -> None:
    command = [sys.executable, "-m", "batch", "validate", str(path)]
    ran = subprocess.run(command, capture_output=True, timeout=60, check=False)  # noqa: S603 - our own interpreter
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"good" in ran.stdout


def test_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["valid"], found["total"], found["errors"]) == (True, 1_200, [])
    assert main(["validate", str(path.parent), "--json"]) == 3
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert (error["code"], error["line"]) == ("not_a_file", None)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--model", MODEL, "--endpoint", CHAT, "--most-lines", "1200"], None),
        (["--model", "other"], "mismatched_model"),
        (["--endpoint", EMBEDDINGS], "mixed_urls"),
        (["--allow-endpoint", EMBEDDINGS, "--allow-endpoint", CHAT], None),
        (["--allow-endpoint", EMBEDDINGS], "invalid_url"),
        (["--allow-endpoint", EMBEDDINGS, "--endpoint", CHAT, "--model", MODEL], "invalid_url"),
        (["--most-lines", "1199"], "too_many_lines"),
        (["--most-bytes", "1000"], "file_too_large"),
        (["--most-line-bytes", "100"], "line_too_long"),
        (["--reserved=priority", "--reserved=input"], None),
        (["--reserved=priority", "--reserved=messages"], "reserved_field"),
    ],
)
def test_the_rules_are_options(
    path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: str | None
) -> None:
    assert main(["validate", str(path), "--json", *options]) == (3 if code else 0)
    codes = {error["code"] for error in json.loads(capsys.readouterr().out)["errors"]}
    assert codes == ({code} if code else set())


@pytest.mark.parametrize("field", sorted(RESERVED_BY_GATEWAYS))
def test_what_every_gateway_reserves_is_refused_unasked(
    path: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    path.write_bytes(encoded(request(body={"model": MODEL, "messages": [], field: "mine"})))
    for options in ([], ["--reserved=priority"]):
        assert main(["validate", str(path), "--json", *options]) == 3
        (error,) = json.loads(capsys.readouterr().out)["errors"]
        assert (error["code"], error["param"]) == ("reserved_field", f"body.{field}")


def test_gateways_reserve_what_we_believe() -> None:
    assert RESERVED_BY_GATEWAYS == RESERVED_EVERYWHERE


def test_images_by_address_are_told_unless_the_engine_opens_them(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "https://example.org/cat.png"
    path.write_bytes(good_lines(2))
    # The second of them the quick way might take.
    for custom_id, named in {"a": {"url": address}, "b": address}.items():
        content = [{"type": "image_url", "image_url": named}]
        messages = [{"role": "user", "content": content}]
        with path.open("ab") as file:
            file.write(encoded(request(custom_id, body={"model": MODEL, "messages": messages})))
    assert main(["validate", str(path), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)["errors"]
    assert [(error["code"], error["line"]) for error in found] == [
        ("remote_image", 3),
        ("remote_image", 4),
    ]
    assert main(["validate", str(path), "--remote-images"]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["validate"],
        ["other"],
        ["validate", "in", "--endpoint", "/v1/files"],
        ["validate", "in", "--allow-endpoint", "/v1/files"],
        ["validate", "in", "--most-lines", "0"],
        ["validate", "in", "--most-lines", "-1"],
        ["validate", "in", "--most-bytes", "many"],
    ],
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_system_that_fails_is_no_fault_of_the_file(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, bounds[1]))
    try:
        status = main(["validate", str(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, bounds)
    assert status == 6
    assert "the input cannot be opened: Too many open files" in capsys.readouterr().err


@pytest.mark.row("C-40")
def test_a_file_of_150_000_lines_needs_little_memory(path: Path) -> None:
    path.write_bytes(good_lines(150_000))
    command = [sys.executable, "-c", MEASURED, "validate", str(path), "--json"]
    ran = subprocess.run(command, capture_output=True, timeout=60, check=False)  # noqa: S603 - our own interpreter
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["total"] == 150_000
    assert int(ran.stderr) < 100 * 1024
    assert Rules().most_lines == 150_000
