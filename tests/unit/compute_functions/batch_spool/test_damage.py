"""Files of the spool that a crash or a disk damaged: no batch stands still for one."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from batch import whole_file
from compute_functions.batch_spool import flat_file, sound_file
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.batch_spool.calls import run_batch
from compute_functions.batch_spool.fate import begin
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.batch_spool.look import SpoolLook
from compute_functions.batch_spool.place import Delivered
from compute_functions.contract import FailureCode
from compute_functions.contract.batches import BatchState, BatchVerb
from tests.support.batch_orders import BatchSite, ids, lines, names, order

BATCH, OTHER = "batch_00000001", "batch_00000002"

NO_OBJECTS = [
    pytest.param(b"", id="empty"),
    pytest.param(b'{"at": 1.0, "en', id="cut off"),
    pytest.param(b"\0" * 200, id="zeros"),
    pytest.param(b"[1]", id="a list"),
    pytest.param(b"[" * 100_000, id="deep"),
    pytest.param(b"\xff{}", id="no text"),
]


@pytest.fixture
def folder(site: BatchSite) -> BatchFolder:
    """Return a batch that waits for its turn, beside another one."""
    for batch in (BATCH, OTHER):
        site.taken(order(batch))
        site.upload(lines(), batch=batch)
    return site.folder()


def damaged(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Hold that a file was set aside, and that it was said."""
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    assert not path.exists()
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert any("batch_file_damaged" in one and BATCH in one and path.name in one for one in said)


def changed(values: dict[str, Any], changes: list[dict[str, Any]]) -> list[Any]:
    """Return a file's content for each change of what it should say."""
    return [pytest.param(json.dumps(values | one).encode(), id=f"{one}") for one in changes]


@pytest.mark.parametrize(
    "content",
    [
        *NO_OBJECTS,
        pytest.param(b"{}", id="nothing in it"),
        pytest.param(b'{"status": 7}', id="no word"),
        pytest.param(b'{"status": "completed", "total": "3"}', id="no number"),
        pytest.param(b'{"status": "completed", "completed": -1}', id="below zero"),
        pytest.param(b'{"status": "completed", "ended_at": "now"}', id="no time"),
        pytest.param(b'{"status": "completed", "output": {"bytes": 1}}', id="no sum"),
        pytest.param(b'{"status": "completed", "ended_at": 1' + b"0" * 400 + b"}", id="huge"),
    ],
)
def test_an_outcome_that_says_nothing_is_written_anew_by_the_next_runner(
    site: BatchSite, folder: BatchFolder, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    site.finish()
    folder.outcome.write_bytes(content)

    view = SpoolLook(site.spool).read()[BATCH]
    damaged(folder.outcome, content, caplog)
    assert view.wants_runner
    assert not view.over
    assert site.report().state is BatchState.WAITING
    site.finish()
    assert site.report().state is BatchState.COMPLETED


@pytest.mark.parametrize(
    "content",
    [
        *NO_OBJECTS,
        pytest.param(b'{"at": 1.0}', id="half"),
        *changed(
            {"at": 1.0, "ended": "failed", "reason": "", "total": 0, "errors": []},
            [
                {"at": "now"},
                {"at": None},
                {"at": True},
                {"ended": "gloriously"},
                {"ended": "running"},
                {"ended": ["failed"]},
                {"ended": {}},
                {"reason": 7},
                {"total": -1},
                {"total": 1.5},
                {"error_count": "1"},
                {"errors": None},
                {"errors": 7},
                {"errors": [{"code": 7}]},
            ],
        ),
        pytest.param(b'{"at": NaN, "ended": null, "errors": []}', id="no number"),
        pytest.param(b'{"at": 1' + b"0" * 400 + b', "ended": null, "errors": []}', id="huge"),
    ],
)
def test_a_fate_that_says_nothing_is_open_again(
    site: BatchSite, folder: BatchFolder, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder.fate.write_bytes(content)

    view = SpoolLook(site.spool).read()[BATCH]
    damaged(folder.fate, content, caplog)
    assert view.wants_runner
    assert ids(site.ask(BatchVerb.REPORT, BATCH, OTHER).reports) == [BATCH, OTHER]
    assert begin(folder, now=2.0)
    assert site.view().began


def test_a_batch_whose_fate_is_lost_is_still_cancelled(
    site: BatchSite, folder: BatchFolder
) -> None:
    site.ask(BatchVerb.CANCEL, BATCH)
    folder.fate.write_bytes(b"{")
    assert site.view().cancelled
    assert [one.state for one in site.ask(BatchVerb.CANCEL, BATCH).reports] == [
        BatchState.CANCELLED
    ]


@pytest.mark.parametrize(
    "content",
    [
        *NO_OBJECTS,
        pytest.param(b'{"epoch": 3}', id="no fence"),
        *changed(
            {"fence": 1},
            [
                {"fence": "1"},
                {"epoch": None},
                {"epoch": 1.5},
                {"epoch": -1},
                {"epoch": True},
                {"instance": 7},
                {"reason": None},
                {"since": "now"},
                {"not_before": []},
                {"crashes": "1"},
            ],
        ),
        pytest.param(b'{"fence": 1, "not_before": Infinity}', id="for ever"),
    ],
)
def test_a_state_that_says_nothing_is_none(
    site: BatchSite, folder: BatchFolder, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert begin(folder, now=1.0)
    folder.state.write_bytes(content)

    view = SpoolLook(site.spool).read()[BATCH]
    damaged(folder.state, content, caplog)
    assert view.state is None
    assert view.wants_runner
    AgentState(fence=2, epoch=5, instance="tiny-1", since=3).write(folder)
    assert site.view().state == AgentState(fence=2, epoch=5, instance="tiny-1", since=3.0)


@pytest.mark.parametrize("content", [b"{", b'{"results": 7}'])
def test_a_delivery_that_says_nothing_is_done_again(
    site: BatchSite, folder: BatchFolder, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder.delivered.write_bytes(content)
    assert site.view().delivered is None
    damaged(folder.delivered, content, caplog)
    Delivered(results="/a").decide(folder)
    assert site.view().delivered == Delivered(results="/a")


@pytest.mark.parametrize("content", [b"{", b'{"folder": 7}'])
def test_a_place_that_says_nothing_leaves_the_results_at_the_gateway_and_says_so(
    site: BatchSite, folder: BatchFolder, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder.place.write_bytes(content)
    site.finish()
    damaged_said = "the site's note of their place is damaged"
    for _ in range(2):
        told = site.report()
        assert told.state is BatchState.COMPLETED
        assert damaged_said in told.reason
    damaged(folder.place, content, caplog)


def test_what_was_written_meanwhile_is_not_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"{")

    def parse(values: object) -> None:
        raise AssertionError(values)

    def replaced(values: Any) -> None:
        """Another process writes the file while it is judged."""
        whole_file.replace(path, whole_file.packed({"fence": 3}))
        raise ValueError("no sense")

    assert sound_file.read(path, parse) is None
    path.write_bytes(b"{}")
    assert sound_file.read(path, replaced) is None
    assert flat_file.read(path, AgentState) == AgentState(fence=3)
    assert names(tmp_path) == ["state.json", "state.json.damaged"]


class DiskThatRefuses:
    """Makes one batch's folder such that the disk refuses what is done with it."""

    def __init__(self, folder: BatchFolder) -> None:
        folder.order.unlink()
        folder.order.mkdir()
        folder.state.unlink(missing_ok=True)


@pytest.mark.parametrize("verb", [BatchVerb.REPORT, BatchVerb.CANCEL])
def test_one_batch_that_the_disk_refuses_is_left_out_and_the_others_are_told(
    site: BatchSite, folder: BatchFolder, verb: BatchVerb, caplog: pytest.LogCaptureFixture
) -> None:
    DiskThatRefuses(folder)
    told = site.ask(verb, BATCH, OTHER, "batch_00000003")
    assert ids(told.reports) == [OTHER]
    assert told.unknown == ("batch_00000003",)
    assert f"batch_refused_by_disk batch={BATCH}" in caplog.text


def test_one_that_cannot_be_forgotten_keeps_no_other(site: BatchSite, folder: BatchFolder) -> None:
    site.spool.tombstone(BATCH).mkdir(parents=True)
    site.spool.tombstone(BATCH).rmdir()
    site.spool.tombstone(BATCH).symlink_to(site.spool.root / "no" / "folder")
    told = site.ask(BatchVerb.FORGET, BATCH, OTHER)
    assert OTHER in told.unknown
    assert BATCH not in told.unknown
    assert folder.order.exists()


def test_a_disk_that_refuses_them_all_has_failed(site: BatchSite, folder: BatchFolder) -> None:
    DiskThatRefuses(folder)
    wire = run_batch({"v": 1, "verb": "report", "order": None, "batches": [BATCH]})
    assert (wire["kind"], wire["code"]) == ("failure", FailureCode.SITE_FAILED)
