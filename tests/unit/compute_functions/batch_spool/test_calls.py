"""`run_batch`: batches are taken once, refused with a reason, cancelled, reported, forgotten."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batch import whole_file
from batch.control import Control
from batch.folder import Folder
from batch.progress import Progress, Stage
from batch.use import Use
from compute_functions.batch_spool import checking, control, forgetting, order_file
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.batch_spool.calls import batch_file, run_batch
from compute_functions.batch_spool.fate import begin
from compute_functions.contract import FailureCode
from compute_functions.contract.batches import (
    BatchFile,
    BatchState,
    BatchUse,
    BatchVerb,
    FileSum,
    Piece,
)
from compute_functions.site import VARIABLE
from tests.support.batch_orders import BatchSite, batch_site, lines, names, order, sum_of

BATCH = "batch_00000001"


def test_a_batch_is_taken_once_however_often_it_is_submitted(site: BatchSite) -> None:
    wanted = order()
    first = site.taken(wanted)
    before = site.folder().order.stat()

    assert first.state is BatchState.RECEIVING
    assert site.taken(wanted) == first
    assert site.folder().order.stat() == before
    assert order_file.read(site.folder()) == wanted
    assert site.left() == [BATCH]
    assert site.folder().path.stat().st_mode & 0o777 == 0o700


def test_another_order_under_the_same_id_is_refused(site: BatchSite) -> None:
    site.taken(order())
    failure = site.refusal(order(most_lines=7))

    assert failure.code is FailureCode.BATCH_REFUSED
    assert "with another order" in failure.message
    assert order_file.read(site.folder()) == order()


def test_one_that_was_taken_before_an_update_is_the_same_that_comes_after_it(
    site: BatchSite,
) -> None:
    """The version before read no `endpoints` and no `most_inputs`, and wrote none."""
    wanted = order(endpoints=("/v1/chat/completions",), most_inputs=7)
    site.taken(replace(wanted, endpoints=(), most_inputs=None))
    assert site.taken(wanted).state is BatchState.RECEIVING
    assert site.refusal(replace(wanted, most_lines=7)).code is FailureCode.BATCH_REFUSED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "vendor/other"}, "the site does not run vendor/other with vllm"),
        ({"framework": "infinity"}, "the site does not run org/tiny with infinity"),
        ({"endpoint": "/v1/images/generations"}, "/v1/images/generations is no endpoint"),
        (
            {"endpoint": "/v1/rerank", "endpoints": ("/v1/embeddings",)},
            "/v1/rerank is no endpoint",
        ),
        ({"endpoints": ("/v1/of-tomorrow",)}, "none of /v1/of-tomorrow is an endpoint"),
        ({"expires_at": 5.0}, "its time was over before it came"),
        ({"most_bytes": 10}, "bytes, and 10 are allowed"),
        ({"input_path": "/data/a.jsonl", "upload": None}, "takes uploaded files only"),
        ({"output_folder": "/data/out"}, "takes uploaded files only"),
    ],
)
def test_what_the_site_does_not_do_is_refused_and_begins_nothing(
    site: BatchSite, changes: dict[str, Any], reason: str
) -> None:
    failure = site.refusal(order(**changes))

    assert failure.code is FailureCode.BATCH_REFUSED
    assert reason in failure.message
    assert site.left() == []
    assert site.ask(BatchVerb.REPORT, BATCH).unknown == (BATCH,)


def test_a_site_without_the_section_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = batch_site(tmp_path)
    file = made.site.root / "site.yaml"
    values = yaml.safe_load(file.read_text())
    del values["batches"]
    file.write_text(yaml.safe_dump(values))
    monkeypatch.setenv(VARIABLE, str(made.site.root))

    assert made.refusal(order()).message == "alpha takes no batches"


def test_a_person_has_so_many_batches_and_one_more_when_one_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = batch_site(tmp_path, most_active_per_owner=2)
    monkeypatch.setenv(VARIABLE, str(site.site.root))
    site.taken(order("batch_00000001"))
    site.taken(order("batch_00000002"))

    assert site.refusal(order("batch_00000003")).code is FailureCode.BUSY
    site.taken(order("batch_00000004", owner=("somebody-else",)))
    site.taken(order("batch_00000001"))
    site.upload(lines(), batch="batch_00000002")
    site.finish("batch_00000002")
    site.taken(order("batch_00000003"))


def test_a_full_disk_puts_a_batch_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = batch_site(tmp_path, keep_free_bytes=1 << 60)
    monkeypatch.setenv(VARIABLE, str(site.site.root))

    failure = site.refusal(order())
    assert failure.code is FailureCode.BUSY
    assert failure.message == "the site's disk for batches is full"


def test_what_is_to_come_for_others_is_not_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = batch_site(tmp_path, most_bytes=1 << 40)
    monkeypatch.setenv(VARIABLE, str(site.site.root))
    disk = os.statvfs(site.site.root)
    free = disk.f_bavail * disk.f_frsize
    large = FileSum(bytes=free * 2 // 3, sha256="0" * 64)

    site.taken(order("batch_00000001", upload=large, most_bytes=1 << 40))
    second = order("batch_00000002", upload=large, most_bytes=1 << 40)
    assert site.refusal(second).code is FailureCode.BUSY
    site.ask(BatchVerb.CANCEL, "batch_00000001")
    site.taken(second)


def test_a_batch_that_waits_tells_for_what_and_one_that_runs_how_far_it_is(
    site: BatchSite,
) -> None:
    site.taken(order())
    site.upload(lines())
    folder = site.folder()
    assert site.report().state is BatchState.WAITING

    AgentState(fence=1, reason="for an instance").write(folder)
    assert (site.report().state, site.report().reason) == (BatchState.WAITING, "for an instance")

    assert begin(folder, now=1.0)
    AgentState(fence=1, epoch=1, instance="tiny-1").write(folder)
    assert site.report().state is BatchState.VALIDATING

    manifest = {"total": 3, "endpoint": "/v1/chat/completions"}
    whole_file.replace(folder.work / "batch.json", whole_file.packed(manifest))
    progress = Progress(
        stage=Stage.RUNNING,
        total=3,
        recorded=2,
        completed=1,
        failed=1,
        rate=2.5,
        left_s=0.4,
        use=Use(input_tokens=3, output_tokens=2),
        started_at=4.0,
        at=7.0,
        working_s=3.0,
        epoch=1,
    )
    runners = Folder(folder.work)
    runners.put_progress(progress.to_wire())
    told = site.report()
    assert (told.state, told.total, told.completed, told.failed) == (BatchState.RUNNING, 3, 1, 1)
    assert (told.lines_per_s, told.left_s, told.endpoint) == (2.5, 0.4, "/v1/chat/completions")
    assert told.use == BatchUse(input_tokens=3, output_tokens=2)

    runners.put_progress(replace(progress, stage=Stage.FINALIZING).to_wire())
    assert site.report().state is BatchState.FINALIZING

    AgentState(fence=1, epoch=1, reason="its instance is gone").write(folder)
    waiting = site.report()
    assert (waiting.state, waiting.completed) == (BatchState.WAITING, 1)
    assert (waiting.lines_per_s, waiting.left_s) == (None, None)


def test_a_large_input_is_validated_until_it_was_looked_through(
    site: BatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "AT_ONCE_BYTES", len(lines()) - 1)
    site.taken(order())
    assert site.report().state is BatchState.RECEIVING
    site.upload(lines())
    folder = site.folder()

    def said() -> tuple[BatchState, str]:
        told = site.report()
        return told.state, told.reason

    assert said() == (BatchState.VALIDATING, "")
    AgentState(fence=1, reason="after others").write(folder)
    assert said() == (BatchState.VALIDATING, "after others")
    AgentState(fence=1, epoch=1, instance="the agent", reason="it is at it").write(folder)
    assert said() == (BatchState.VALIDATING, "it is at it")

    assert site.view().wants_examination
    whole_file.replace(folder.work / "batch.json", whole_file.packed({"total": 3}))
    whole_file.replace(folder.progress, whole_file.packed({"stage": "validating", "total": 3}))
    assert not site.view().wants_examination
    # Its runner is about to leave, and nothing runs.
    assert said() == (BatchState.VALIDATING, "it is at it")
    AgentState(fence=1, epoch=1, reason="for an instance").write(folder)
    assert said() == (BatchState.WAITING, "for an instance")


def test_a_batch_with_a_line_recorded_is_not_looked_through_again(
    site: BatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "AT_ONCE_BYTES", len(lines()) - 1)
    site.taken(order())
    site.upload(lines())
    assert site.view().wants_examination
    AgentState(fence=1, epoch=1, recorded=1).write(site.folder())
    assert not site.view().wants_examination
    AgentState(fence=1, epoch=1).write(site.folder())
    whole_file.replace(site.folder().progress, whole_file.packed({"completed": 1}))
    assert not site.view().wants_examination


def test_a_batch_with_lines_recorded_runs_while_its_next_runner_reads_what_there_is(
    site: BatchSite,
) -> None:
    site.taken(order())
    site.upload(lines())
    folder = site.folder()
    AgentState(fence=1, epoch=2, instance="tiny-1", recorded=1).write(folder)
    whole_file.replace(folder.work / "batch.json", whole_file.packed({"total": 3}))
    told = {"stage": "validating", "total": 3, "completed": 1, "epoch": 2}
    whole_file.replace(folder.progress, whole_file.packed(told))
    assert (site.report().state, site.report().completed) == (BatchState.RUNNING, 1)


def test_a_large_input_of_which_runners_die_is_left_to_an_instance(
    site: BatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "AT_ONCE_BYTES", len(lines()) - 1)
    site.taken(order())
    site.upload(lines())
    states = []
    for left in (False, True):
        AgentState(fence=1, epoch=3, crashes=3, left_to_engine=left).write(site.folder())
        states.append((site.view().wants_examination, site.report().state))
    assert states == [(True, BatchState.VALIDATING), (False, BatchState.WAITING)]


def test_an_input_that_was_looked_through_when_it_came_is_not_again(
    site: BatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "AT_ONCE_BYTES", len(lines()))
    site.taken(order())
    site.upload(lines())
    assert site.report().state is BatchState.WAITING
    assert not site.view().wants_examination


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "expired"])
def test_a_batch_that_is_over_tells_what_came_of_it(site: BatchSite, status: str) -> None:
    site.taken(order())
    site.upload(lines())
    folder = site.finish(status=status)

    told = site.report()
    assert told.state.value == status
    assert (told.total, told.completed, told.failed, told.resumed) == (3, 2, 1, 1)
    assert told.output == sum_of(folder.output.read_bytes())
    assert told.error_file == sum_of(folder.error_lines.read_bytes())
    assert (told.started_at, told.ended_at, told.lines_per_s) == (1.0, 5.0, 1.5)
    assert told.results_path is None


def test_an_outcome_that_is_not_understood_is_a_failure_and_says_so(site: BatchSite) -> None:
    site.taken(order())
    site.upload(lines())
    folder = site.finish()
    whole_file.replace(folder.outcome, b'{"status": "sublime", "total": -3, "output": 7}')

    told = site.report()
    assert (told.state, told.reason) == (BatchState.FAILED, "its outcome is not understood")
    assert (told.total, told.output) == (0, None)


def test_a_batch_cancelled_before_it_began_is_over(site: BatchSite) -> None:
    site.taken(order())
    told = site.ask(BatchVerb.CANCEL, BATCH, "batch_99999999")

    assert [one.state for one in told.reports] == [BatchState.CANCELLED]
    assert told.unknown == ("batch_99999999",)
    assert not begin(site.folder(), now=2.0)
    assert site.ask(BatchVerb.CANCEL, BATCH).reports == told.reports


def test_a_batch_that_began_is_ended_by_its_runner(site: BatchSite) -> None:
    site.taken(order())
    site.upload(lines())
    folder = site.folder()
    assert begin(folder, now=1.0)
    control.write(folder, Control(share=0.25, concurrency=4))
    told = site.ask(BatchVerb.CANCEL, BATCH)

    assert [one.state for one in told.reports] == [BatchState.WAITING]
    assert site.view().cancelled
    said = json.loads(folder.control.read_bytes())
    assert said == {
        "cancel": True,
        "share": 0.25,
        "concurrency": 4,
        "expires_at": None,
        "given_up": "",
    }
    control.write(folder, Control(share=1.0))
    assert json.loads(folder.control.read_bytes())["cancel"] is True


def test_a_forgotten_batch_is_unknown_and_does_not_come_back(site: BatchSite) -> None:
    site.taken(order())
    assert site.ask(BatchVerb.FORGET, BATCH).unknown == (BATCH,)

    assert not site.folder().path.exists()
    assert site.refusal(order()).code is FailureCode.BATCH_REFUSED
    assert site.ask(BatchVerb.FORGET, BATCH).unknown == (BATCH,)


def test_a_forgotten_batch_that_runs_is_cancelled_and_removed_when_it_has_ended(
    site: BatchSite,
) -> None:
    site.taken(order())
    site.upload(lines())
    folder = site.folder()
    assert begin(folder, now=1.0)
    assert site.ask(BatchVerb.FORGET, BATCH).unknown == (BATCH,)
    assert json.loads(folder.control.read_bytes())["cancel"] is True

    now = time.time()
    forgetting.sweep(site.spool, running={BATCH}, now=now)
    assert folder.order.exists()
    forgetting.sweep(site.spool, running=(), now=now)
    assert site.left() == []
    assert names(site.spool.forgotten_folder) == [BATCH]

    (site.spool.root / ".draft.x").mkdir()
    forgetting.sweep(site.spool, running=(), now=now + 31 * 86_400)
    assert site.left() == []
    assert names(site.spool.forgotten_folder) == []


def test_a_damaged_batch_hides_no_other(site: BatchSite) -> None:
    site.taken(order("batch_00000001"))
    site.taken(order("batch_00000002"))
    site.folder("batch_00000001").order.write_text("{")

    told = site.ask(BatchVerb.REPORT, "batch_00000001", "batch_00000002")
    assert [one.batch for one in told.reports] == ["batch_00000002"]
    assert told.unknown == ()


def test_a_damaged_batch_stops_no_other_and_can_be_forgotten(site: BatchSite) -> None:
    site.taken(order("batch_00000001"))
    site.folder("batch_00000001").fate.write_text('{"ended": "gloriously"}')
    site.folder("batch_00000001").state.write_text('{"reason": "no fence"}')
    site.taken(order("batch_00000002"))

    told = site.ask(BatchVerb.FORGET, "batch_00000001", "batch_00000002")
    assert told.unknown == ("batch_00000001", "batch_00000002")
    forgetting.sweep(site.spool, running=(), now=time.time())
    assert site.left() == []


@pytest.mark.parametrize("function", [run_batch, batch_file])
def test_without_a_site_the_operators_are_called(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    wires = {
        "run_batch": {"v": 1, "verb": "report", "order": None, "batches": []},
        "batch_file": {"v": 1, "batch": BATCH, "file": "output", "offset": 0, "content": None},
    }
    said = function(wires[function.__name__])
    assert said["code"] == FailureCode.SITE_MISCONFIGURED


def test_a_disk_that_refuses_is_a_failure_that_names_no_path(site: BatchSite) -> None:
    site.taken(order())
    site.folder().order.unlink()
    site.folder().order.mkdir()

    failure = site.piece(BatchFile.OUTPUT, 0)
    assert not isinstance(failure, Piece)
    assert failure.code is FailureCode.SITE_FAILED
    assert failure.message == "the site's disk: Is a directory"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)


@given(wire=JSON, changes=st.dictionaries(st.sampled_from(["order", "batches", "verb"]), JSON))
def test_nothing_that_comes_raises(wire: object, changes: dict[str, object]) -> None:
    for given_wire in (wire, {"v": 1, "verb": "submit", "order": {}, "batches": []} | changes):
        for function in (run_batch, batch_file):
            assert function(given_wire)["kind"] in {"failure", "batches"}
