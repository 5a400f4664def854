"""Several processes at the same time: of what must happen once, one does it."""

from __future__ import annotations

from typing import Any

from compute_functions.contract.batches import (
    BatchCall,
    BatchFile,
    BatchReport,
    BatchState,
    BatchVerb,
    PieceCall,
)
from tests.support.batch_callers import at_once
from tests.support.batch_orders import BatchSite, lines, order, sum_of

PROCESSES = 4


def submission(batch: str, **changes: Any) -> list[Any]:
    call = BatchCall(verb=BatchVerb.SUBMIT, order=order(batch, **changes))
    return ["run_batch", call.to_wire()]


def test_one_of_many_submissions_makes_the_batch(site: BatchSite) -> None:
    ids = [f"batch_{n:08d}" for n in range(12)]
    said = at_once([[submission(batch) for batch in ids]] * PROCESSES)

    for own in said:
        assert [reply["kind"] for reply in own] == ["batches"] * len(ids)
        assert [reply["reports"][0]["batch"] for reply in own] == ids
    assert site.left() == ids


def test_of_two_orders_under_one_id_one_holds(site: BatchSite) -> None:
    ids = [f"batch_{n:08d}" for n in range(12)]
    said = at_once([[submission(batch, most_lines=n) for batch in ids] for n in (5, 6)])

    for first, second in zip(*said, strict=True):
        assert {first["kind"], second["kind"]} == {"batches", "failure"}
        failure = first if first["kind"] == "failure" else second
        assert failure["code"] == "batch_refused"


def test_one_upload_by_several_is_what_was_sent(site: BatchSite) -> None:
    content = lines(2000)
    site.taken(order(upload=sum_of(content)))
    step = 4096
    calls = [
        PieceCall(
            batch="batch_00000001",
            file=BatchFile.INPUT,
            offset=offset,
            content=content[offset : offset + step],
        )
        for offset in range(0, len(content), step)
    ]
    said = at_once([[["batch_file", call.to_wire()] for call in calls]] * PROCESSES)

    assert {reply["kind"] for own in said for reply in own} == {"piece"}
    assert site.folder().input.read_bytes() == content
    assert site.report().state is BatchState.WAITING


def test_a_batch_either_begins_or_is_cancelled(site: BatchSite) -> None:
    known = [f"batch_{n:08d}" for n in range(20)]
    for batch in known:
        site.taken(order(batch))
    cancel = [
        ["run_batch", BatchCall(verb=BatchVerb.CANCEL, batches=(batch,)).to_wire()]
        for batch in known
    ]
    began = [["begin", str(site.folder(batch).path)] for batch in known]
    cancelled, begun = at_once([cancel, began])

    for batch, reply, has_begun in zip(known, cancelled, begun, strict=True):
        said = BatchReport.from_wire(reply["reports"][0])
        assert (said.state is BatchState.CANCELLED) != has_begun
        assert (site.report(batch).state is BatchState.CANCELLED) != has_begun
        assert site.view(batch).cancelled
