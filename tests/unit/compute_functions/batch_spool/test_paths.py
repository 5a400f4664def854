"""Batches by path: a person's own file is taken, and the results come where that person wants."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from compute_functions.batch_access import acl
from compute_functions.batch_spool import input_copy
from compute_functions.batch_spool.checking import AT_ONCE_BYTES
from compute_functions.batch_spool.delivery import (
    GIVE_UP_S,
    PROGRESS_EVERY_S,
    TRY_AGAIN_S,
    Delivery,
)
from compute_functions.batch_spool.fate import begin
from compute_functions.contract import FailureCode
from compute_functions.contract.batches import BatchOrder, BatchState, BatchVerb
from compute_functions.errors import BatchRefused
from tests.support.batch_orders import (
    ALICES_ID,
    BatchSite,
    content_of,
    identities,
    lines,
    names,
    order,
)
from tests.support.open_folder import ALICE, BOB, OTHERS, PROJECT, owned

BATCH = "batch_00000001"


@pytest.fixture
def project(alices: BatchSite, shared: Path) -> Path:
    return shared / "project"


def by_path(project: Path, **changes: Any) -> BatchOrder:
    values = {"upload": None, "input_path": str(project / "input.jsonl"), "output_folder": None}
    return order(**values | changes)


def refused(site: BatchSite, wanted: BatchOrder) -> str:
    failure = site.refusal(wanted)
    assert failure.code is FailureCode.BATCH_REFUSED, failure
    assert not site.folder().path.exists()
    return failure.message


@pytest.mark.row("C-42")
def test_a_file_in_the_persons_project_is_taken_as_it_is_now(
    alices: BatchSite, project: Path
) -> None:
    told = alices.taken(by_path(project))
    (project / "input.jsonl").write_text("something else")

    assert told.state is BatchState.WAITING
    assert alices.folder().input.read_bytes() == lines()
    assert alices.view().wants_runner


@pytest.mark.row("C-42")
@pytest.mark.parametrize("name", [ALICES_ID, "alice@example.org"])
def test_a_person_is_known_by_identity_or_by_name(
    alices: BatchSite, project: Path, shared: Path, name: str
) -> None:
    identities(shared, {name: {"uid": ALICE, "gids": [PROJECT]}})
    owner = ("primary", ALICES_ID)
    assert alices.taken(by_path(project, owner=owner)).state is BatchState.WAITING


@pytest.mark.row("C-69")
def test_somebody_the_site_does_not_know_gets_nothing(alices: BatchSite, project: Path) -> None:
    wanted = by_path(project, owner=("stranger",), username="stranger@example.org")
    assert refused(alices, wanted) == (
        f"{project / 'input.jsonl'}: the cluster does not know which of its users you are"
    )


@pytest.mark.row("C-69")
def test_another_user_is_told_which_folder_is_closed(
    alices: BatchSite, project: Path, shared: Path
) -> None:
    identities(shared, {ALICES_ID: {"uid": BOB, "gids": [OTHERS]}})
    assert refused(alices, by_path(project)) == f"{project}: you may not enter it"


@pytest.mark.row("C-42")
def test_what_everybody_may_read_is_taken_from_anybody_below_the_open_folders(
    shared: Path, project: Path, alices: BatchSite
) -> None:
    data = owned(shared / "data", uid=ALICE, gid=PROJECT, mode=0o755)
    file = owned(data / "open.jsonl", uid=ALICE, gid=PROJECT, mode=0o644)
    file.write_bytes(lines())
    _change(alices, open_folders=[str(data)])
    stranger = {"owner": ("stranger",), "username": "x"}

    told = alices.taken(by_path(project, input_path=str(file), **stranger))
    assert told.state is BatchState.WAITING
    assert alices.view().place.folder is None
    assert "results are fetched from the gateway only" in alices.view().place.problem

    file.chmod(0o640)
    alices.ask(BatchVerb.FORGET, BATCH)
    wanted = by_path(project, batch="batch_00000002", input_path=str(file), **stranger)
    failure = alices.refusal(wanted)
    assert failure.message == f"{file}: not everybody may read it"


@pytest.mark.row("C-69")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/passwd", "/etc/passwd: it is not below a folder that the cluster opens"),
        ("{project}/../input.jsonl", "must be an absolute path without . and .."),
        ("{project}/none.jsonl", "none.jsonl: there is no such file or folder"),
        ("{project}/out", "out: it is not a regular file"),
        ("{project}/link.jsonl", "link.jsonl: it is a link"),
    ],
)
def test_a_path_that_will_not_do_is_refused_in_words(
    alices: BatchSite, project: Path, path: str, reason: str
) -> None:
    (project / "link.jsonl").symlink_to(project / "input.jsonl")
    assert reason in refused(alices, by_path(project, input_path=path.format(project=project)))


def test_an_input_that_is_wrong_fails_at_once_and_its_folder_tells(
    alices: BatchSite, project: Path
) -> None:
    (project / "input.jsonl").write_bytes(lines() + lines())
    told = alices.taken(by_path(project))

    assert (told.state, told.error_count) == (BatchState.FAILED, 3)
    assert {one.code for one in told.errors} == {"duplicate_custom_id"}
    assert names(project) == ["input.jsonl", "out"]


def test_a_large_input_is_taken_by_the_agent_later(alices: BatchSite, project: Path) -> None:
    with (project / "input.jsonl").open("ab") as file:
        file.truncate(AT_ONCE_BYTES + 1)
    wanted = by_path(project)
    assert alices.taken(wanted).state is BatchState.RECEIVING
    assert alices.view().wants_input

    for _ in range(2):
        input_copy.receive(alices.folder(), wanted, alices.access)
        assert alices.folder().input.stat().st_size == AT_ONCE_BYTES + 1
    assert names(alices.folder().work) == ["input.jsonl"]
    assert alices.report().state is BatchState.VALIDATING


def test_a_large_input_waits_for_room(alices: BatchSite, project: Path) -> None:
    with (project / "input.jsonl").open("ab") as file:
        file.truncate(AT_ONCE_BYTES + 1)
    wanted = by_path(project)
    alices.taken(wanted)

    _change(alices, keep_free_bytes=1 << 60)
    with pytest.raises(OSError, match="is full"):
        input_copy.receive(alices.folder(), wanted, alices.access)
    assert alices.report().state is BatchState.RECEIVING
    assert names(alices.folder().work) == []

    _change(alices, keep_free_bytes=0)
    input_copy.receive(alices.folder(), wanted, alices.access)
    assert alices.report().state is BatchState.VALIDATING


@pytest.mark.parametrize("how", ["gone", "closed", "link", "too large"])
def test_a_large_input_that_is_another_by_then_fails_the_batch(
    alices: BatchSite, project: Path, how: str
) -> None:
    path = project / "input.jsonl"
    with path.open("ab") as file:
        file.truncate(AT_ONCE_BYTES + 1)
    wanted = by_path(project, most_bytes=AT_ONCE_BYTES + 1)
    alices.taken(wanted)
    if how == "closed":
        path.chmod(0)
    elif how == "too large":
        os.truncate(path, AT_ONCE_BYTES + 2)
    else:
        path.unlink()
    if how == "link":
        path.symlink_to("/etc/passwd")

    input_copy.receive(alices.folder(), wanted, alices.access)
    told = alices.report()
    assert told.state is BatchState.FAILED
    assert told.reason
    assert [one.message for one in told.errors] == [told.reason]
    assert not alices.folder().input.exists()


class GrowingFile:
    """Stands in for `os.fstat` of a file that somebody writes to while it is copied."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, descriptor: int) -> os.stat_result:
        with self._path.open("ab") as file:
            file.write(b"more\n")
        return os.stat(descriptor)


def test_an_input_that_changes_while_it_is_read_is_refused(
    alices: BatchSite, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alices.taken(order())
    with alices.access.input(by_path(project)) as found, monkeypatch.context() as changed:
        changed.setattr(os, "fstat", GrowingFile(project / "input.jsonl"))
        with pytest.raises(BatchRefused, match="it changed while it was read"):
            input_copy.take(alices.folder(), found)
    assert names(alices.folder().work) == []


@pytest.mark.row("C-46")
@pytest.mark.row("C-48")
def test_results_are_put_where_the_order_says_and_are_the_persons(
    alices: BatchSite, project: Path
) -> None:
    wanted = by_path(project, output_folder=str(project / "out"), model="org/tiny")
    alices.taken(wanted)
    delivery = Delivery(alices.access)
    (folder,) = (project / "out").iterdir()
    assert folder.name == f"input_org-tiny_{BATCH}"
    delivery.attend(alices.view(), now=0.0)
    assert names(folder) == []

    alices.finish()
    assert alices.report().state is BatchState.FINALIZING
    delivery.attend(alices.view(), now=1.0)

    told = alices.report()
    assert told.state is BatchState.COMPLETED
    assert told.results_path == str(folder / "input_20260921-141320.results.jsonl")
    assert told.progress_path == str(folder / "input_20260921-141320.progress.json")
    assert content_of(Path(told.results_path)) == [
        {"custom_id": "line-0"},
        {"custom_id": "line-2"},
        {"line-1": 0},
    ]
    assert json.loads(Path(told.progress_path).read_text()) == told.to_wire()
    for path in (folder, *folder.iterdir()):
        stored = acl.unpacked(os.getxattr(path, acl.ATTRIBUTE))
        assert acl.Entry(acl.Tag.USER, 7 if path == folder else 6, ALICE) in stored

    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    Delivery(alices.access).attend(alices.view(), now=2.0)
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before


@pytest.mark.row("C-46")
def test_without_a_folder_results_come_beside_the_input_where_that_can_be(
    alices: BatchSite, project: Path
) -> None:
    alices.taken(by_path(project))
    assert alices.view().place.folder == str(project)
    assert names(project) == ["input.jsonl", f"input_org-tiny_{BATCH}", "out"]

    project.chmod(0o550)
    told = alices.taken(by_path(project, batch="batch_00000002"))
    assert told.state is BatchState.WAITING
    place = alices.view("batch_00000002").place
    assert place.problem == (
        f"results are fetched from the gateway only: {project}: you may not write and enter it"
    )
    alices.finish("batch_00000002")
    told = alices.report("batch_00000002")
    assert (told.state, told.reason, told.results_path) == (
        BatchState.COMPLETED,
        place.problem,
        None,
    )


@pytest.mark.row("C-46")
@pytest.mark.row("C-69")
def test_a_folder_that_the_person_may_not_write_is_refused(
    alices: BatchSite, project: Path
) -> None:
    (project / "out").chmod(0o550)
    said = refused(alices, by_path(project, output_folder=str(project / "out")))
    assert said == f"{project / 'out'}: you may not write and enter it"
    assert names(project / "out") == []


def test_progress_is_told_while_it_runs_and_not_too_often(alices: BatchSite, project: Path) -> None:
    alices.taken(by_path(project))
    assert begin(alices.folder(), now=0.0)
    delivery = Delivery(alices.access)
    folder = project / f"input_org-tiny_{BATCH}"

    def told_at(now: float) -> int:
        delivery.attend(alices.view(), now=now)
        (file,) = folder.iterdir()
        assert json.loads(file.read_text())["state"] == "waiting"
        return file.stat().st_ino

    first = told_at(100.0)
    assert told_at(100.0 + PROGRESS_EVERY_S - 1) == first
    assert told_at(100.0 + PROGRESS_EVERY_S) != first
    alices.finish()
    delivery.attend(alices.view(), now=100.0 + PROGRESS_EVERY_S + 1)
    assert alices.report().state is BatchState.COMPLETED


def test_a_batch_that_ended_before_it_began_tells_so_in_its_folder(
    alices: BatchSite, project: Path
) -> None:
    alices.taken(by_path(project))
    alices.ask(BatchVerb.CANCEL, BATCH)
    Delivery(alices.access).attend(alices.view(), now=1.0)

    told = alices.report()
    assert told.state is BatchState.CANCELLED
    assert told.progress_path is not None
    assert json.loads(Path(told.progress_path).read_text()) == told.to_wire()


def test_a_place_that_is_closed_meanwhile_is_tried_again_and_given_up_in_time(
    alices: BatchSite, project: Path
) -> None:
    alices.taken(by_path(project))
    alices.finish()
    project.chmod(0o550)
    delivery = Delivery(alices.access)
    delivery.attend(alices.view(), now=6.0)
    assert alices.report().state is BatchState.FINALIZING
    project.chmod(0o750)
    delivery.attend(alices.view(), now=6.0 + TRY_AGAIN_S - 1)
    assert alices.report().state is BatchState.FINALIZING
    project.chmod(0o550)
    delivery.attend(alices.view(), now=6.0 + GIVE_UP_S)

    told = alices.report()
    assert (told.state, told.results_path) == (BatchState.COMPLETED, None)
    assert told.reason == (
        f"the results could not be put in their place: {project}: you may not write and enter it"
    )


def _change(site: BatchSite, **batches: Any) -> None:
    file = site.site.root / "site.yaml"
    values = yaml.safe_load(file.read_text())
    values["batches"] |= batches
    file.write_text(yaml.safe_dump(values))
