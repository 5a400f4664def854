"""The service's account is no root: what it does for a person works with rights like any user's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from compute_functions.batch_access import acl
from compute_functions.contract.batches import BatchCall, BatchReport, BatchState, BatchVerb
from tests.support.batch_callers import at_once
from tests.support.batch_orders import BatchSite, names, order
from tests.support.open_folder import ALICE, OTHERS, PROJECT

SERVICE = 54_301


@pytest.fixture
def project(alices: BatchSite, shared: Path) -> Path:
    """Return Alice's project; the site and what it knows belong to the service's account."""
    for path in (alices.site.root, *alices.site.root.rglob("*"), shared / "identities.yaml"):
        os.chown(path, SERVICE, OTHERS)
    return shared / "project"


def submission(project: Path, **changes: Any) -> list[Any]:
    values = {
        "upload": None,
        "input_path": str(project / "input.jsonl"),
        "output_folder": str(project / "out"),
    }
    call = BatchCall(verb=BatchVerb.SUBMIT, order=order(**values | changes))
    return ["run_batch", call.to_wire()]


def call(*calls: list[Any], groups: tuple[int, ...]) -> list[Any]:
    (said,) = at_once([calls], user=(SERVICE, *groups))
    return said


@pytest.mark.row("C-42", "C-46", "C-48")
def test_with_the_projects_group_it_reads_and_delivers(alices: BatchSite, project: Path) -> None:
    """It may enter the project, and not list it."""
    project.chmod(0o710)
    (project / "out").chmod(0o730)
    (taken,) = call(submission(project), groups=(OTHERS, PROJECT))
    assert taken["kind"] == "batches", taken
    folder = alices.finish()
    call(["attend", str(folder.path)], groups=(OTHERS, PROJECT))

    told = BatchReport.from_wire(alices.report().to_wire())
    assert told.state is BatchState.COMPLETED
    assert told.results_path is not None
    results = Path(told.results_path)
    assert names(results.parent) == [
        "input_20260921-141320.progress.json",
        "input_20260921-141320.results.jsonl",
    ]
    assert results.stat().st_uid == SERVICE
    stored = acl.unpacked(os.getxattr(results, acl.ATTRIBUTE))
    assert stored == acl.shared_with(ALICE, acl.READ | acl.WRITE)


@pytest.mark.row("C-69")
def test_what_it_does_not_reach_itself_is_said_to_be_so(alices: BatchSite, project: Path) -> None:
    (refused,) = call(submission(project), groups=(OTHERS,))
    assert refused["code"] == "batch_refused"
    assert refused["message"] == (
        f"{project / 'input.jsonl'}: the service's account does not reach it"
    )

    project.chmod(0o751)
    (refused,) = call(submission(project), groups=(OTHERS,))
    assert refused["message"] == (
        f"{project / 'input.jsonl'}: the service's account may not read it"
    )
    (project / "input.jsonl").chmod(0o644)
    (project / "out").chmod(0o755)
    (refused,) = call(submission(project), groups=(OTHERS,))
    assert refused["message"] == f"{project / 'out'}: the service's account may not write it"
    assert alices.left() == []
