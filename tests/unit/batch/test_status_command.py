"""`status` of folders as people find them: a batch that goes on, one that nobody runs, none."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from batch.__main__ import main
from batch.folder import Folder
from batch.outcome import Outcome, Status
from batch.progress import Progress, Stage

REASON = "the engine refuses everything: 500, CUDA error, " + "and so on " * 20


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return the folder of a batch that goes on, and waits."""
    made = Folder(tmp_path / "in.jsonl.batch")
    made.make()
    tell(made, silent_s=0)
    return made


def tell(folder: Folder, *, silent_s: float) -> None:
    now = time.time() - silent_s
    waiting = Progress(
        stage=Stage.WAITING, reason=REASON, total=10, recorded=5, started_at=now, at=now, epoch=1
    )
    folder.put_progress(waiting.to_wire())


def test_in_a_pipe_it_is_one_plain_line_with_all_of_the_reason(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(folder.path)]) == 0
    said = capsys.readouterr()
    assert said.out == f"[############............]  50.0%  5 of 10  waiting  {REASON}\n"
    assert said.err == ""


def test_a_batch_that_nobody_runs_is_said_to_be_so(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(folder, silent_s=65)
    assert main(["status", str(folder.path)]) == 0
    _, silence = capsys.readouterr().out.splitlines()
    assert silence.startswith("No runner has told anything for 1:0")
    assert "run the batch again" in silence


def test_why_an_ended_runner_gave_up_is_shown(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Progress.from_wire(folder.progress() or {})
    folder.put_progress(replace(told, stage=Stage.RUNNING, refusal=REASON).to_wire())
    assert main(["status", str(folder.path)]) == 0
    assert capsys.readouterr().out.endswith(f"under way  {REASON}\n")


def test_the_end_is_told_as_json(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    over = Outcome(status=Status.COMPLETED, total=3, started_at=1, ended_at=2, epoch=1)
    folder.put_outcome(over)
    assert main(["status", "--json", "--watch", str(folder.path)]) == 0
    assert Outcome.from_wire(json.loads(capsys.readouterr().out)["outcome"]) == over


@pytest.mark.parametrize("name", ["progress.json", "outcome.json"])
def test_what_cannot_be_understood_is_said(
    folder: Folder, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder.path / name).write_text('{"stage": "unheard of"}')
    assert main(["status", str(folder.path)]) == 6
    assert f"{name} is damaged" in capsys.readouterr().err


def test_no_batch_is_said_and_which_folder_is_meant(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder.path.with_name("in.jsonl")
    source.touch()
    assert main(["status", str(source)]) == 2
    assert capsys.readouterr().err == (
        f"there is no batch in {source}; there is one in {folder.path}\n"
    )
    assert main(["status", str(folder.journal)]) == 2
    assert capsys.readouterr().err == f"there is no batch in {folder.journal}\n"


@pytest.mark.parametrize("path", [".", "/"])
def test_a_path_without_a_name_has_no_batch(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["status", path]) == 2
    assert capsys.readouterr().err == f"there is no batch in {path}\n"


def test_a_folder_that_cannot_be_read_is_said_to_be_so(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.path / "outcome.json").mkdir()
    assert main(["status", str(folder.path)]) == 6
    assert "Is a directory" in capsys.readouterr().err
