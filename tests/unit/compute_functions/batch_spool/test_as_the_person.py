"""Batches by path in the mode `user`: taken, put off and delivered with the person's rights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from compute_functions.batch_spool import input_copy
from compute_functions.batch_spool.checking import AT_ONCE_BYTES
from compute_functions.batch_spool.delivery import (
    PROGRESS_EVERY_S,
    USERS_PROGRESS_EVERY_S,
    Delivery,
)
from compute_functions.batch_spool.fate import begin
from compute_functions.contract import FailureCode
from compute_functions.contract.batches import BatchOrder, BatchState
from compute_functions.site import VARIABLE
from tests.support.as_user import ELSEWHERE, OTHER, USER, require_switch, users_site
from tests.support.batch_orders import BatchSite, content_of, lines, names, order
from tests.support.open_folder import owned

FOLDER = "input_org-tiny_batch_00000001"

pytestmark = pytest.mark.row("C-42", "C-46", "C-48", "C-69")


@pytest.fixture
def users(shared: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    """Return a site in the mode `user`; its user's home is `shared / "home"`."""
    require_switch()
    made = users_site(shared)
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    return made


@pytest.fixture
def home(users: BatchSite, shared: Path) -> Path:
    return shared / "home"


def by_path(home: Path, **changes: str) -> BatchOrder:
    values: dict[str, Any] = {"upload": None, "input_path": str(home / "input.jsonl")}
    return order(**values | changes)


def test_a_batch_of_a_closed_home_is_taken_and_delivered(users: BatchSite, home: Path) -> None:
    told = users.taken(by_path(home, output_folder=str(home / "out")))
    assert told.state is BatchState.WAITING
    assert users.folder().input.read_bytes() == lines()
    assert users.folder().input.stat().st_uid == os.geteuid()
    users.finish()
    Delivery(users.access).attend(users.view(), now=6.0)

    told = users.report()
    assert told.state is BatchState.COMPLETED
    assert told.results_path == str(home / "out" / FOLDER / "input_20260921-141320.results.jsonl")
    assert told.progress_path is not None
    assert len(content_of(Path(told.results_path))) == 3
    assert json.loads(Path(told.progress_path).read_text()) == told.to_wire()
    for path in (told.results_path, told.progress_path, home / "out" / FOLDER):
        assert Path(path).stat().st_uid == USER


def test_without_a_folder_results_come_beside_the_input_where_that_can_be(
    users: BatchSite, home: Path
) -> None:
    home.chmod(0o500)
    told = users.taken(by_path(home))
    assert told.state is BatchState.WAITING
    assert users.view().place.problem == (
        f"results are fetched from the gateway only: {home}: you may not write and enter it"
    )
    home.chmod(0o700)
    users.taken(by_path(home, batch="batch_00000002"))
    assert users.view("batch_00000002").place.folder == str(home)


def test_what_the_person_may_not_read_is_refused_and_begins_nothing(
    users: BatchSite, home: Path
) -> None:
    theirs = owned(home / "theirs.jsonl", uid=OTHER, gid=ELSEWHERE, mode=0o600)
    failure = users.refusal(by_path(home, input_path=str(theirs)))
    assert failure.code is FailureCode.BATCH_REFUSED
    assert failure.message == f"{theirs}: you may not read it"
    assert users.left() == []


def test_a_large_input_is_taken_by_the_agent_later(users: BatchSite, home: Path) -> None:
    os.truncate(home / "input.jsonl", AT_ONCE_BYTES + 1)
    assert users.taken(by_path(home)).state is BatchState.RECEIVING
    input_copy.receive(users.folder(), by_path(home), users.access)
    assert users.folder().input.stat().st_size == AT_ONCE_BYTES + 1
    assert names(users.folder().work) == ["input.jsonl"]


def test_files_that_do_not_answer_put_a_batch_off_and_end_none(
    users: BatchSite, home: Path, shared: Path
) -> None:
    helper = shared / "hotnode-as-user"
    program = helper.read_bytes()
    helper.write_text("#!/bin/sh\nexit 1\n")
    failure = users.refusal(by_path(home))
    assert failure.code is FailureCode.BUSY
    assert failure.message == "what reads your account's files did not work; tried again later"
    assert users.left() == []

    helper.write_bytes(program)
    os.truncate(home / "input.jsonl", AT_ONCE_BYTES + 1)
    users.taken(by_path(home))
    helper.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(OSError, match="did not work"):
        input_copy.receive(users.folder(), by_path(home), users.access)
    assert users.report().state is BatchState.RECEIVING
    assert names(users.folder().work) == []


def test_a_delivery_that_fails_is_tried_again(users: BatchSite, home: Path, shared: Path) -> None:
    users.taken(by_path(home, output_folder=str(home / "out")))
    users.finish()
    helper = shared / "hotnode-as-user"
    program = helper.read_bytes()
    helper.write_text("#!/bin/sh\nexit 1\n")
    delivery = Delivery(users.access)
    delivery.attend(users.view(), now=6.0)
    assert users.report().state is BatchState.FINALIZING
    helper.write_bytes(program)
    delivery.attend(users.view(), now=6.0 + USERS_PROGRESS_EVERY_S)
    assert users.report().state is BatchState.COMPLETED


def test_progress_is_told_each_minute(users: BatchSite, home: Path) -> None:
    users.taken(by_path(home))
    assert begin(users.folder(), now=0.0)
    delivery = Delivery(users.access)

    def told_at(now: float) -> int:
        delivery.attend(users.view(), now=now)
        (file,) = (home / FOLDER).iterdir()
        return file.stat().st_ino

    first = told_at(100.0)
    assert told_at(100.0 + PROGRESS_EVERY_S) == first
    assert told_at(100.0 + USERS_PROGRESS_EVERY_S - 1) == first
    assert told_at(100.0 + USERS_PROGRESS_EVERY_S) != first
