"""Batches on the wire: read as written, and nothing is read that is not right."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_functions.contract import ContractError, UnsupportedProtocol
from compute_functions.contract.batches import (
    MOST_BATCHES,
    MOST_ERRORS,
    MOST_PIECE,
    MOST_REASON,
    BatchCall,
    BatchFile,
    BatchOrder,
    BatchReport,
    BatchReports,
    BatchState,
    BatchUse,
    BatchVerb,
    FileSum,
    LineError,
    Piece,
    PieceCall,
)

BATCH = "batch_0123456789abcdef"
SUM = FileSum(bytes=7, sha256="0" * 63 + "f")
ORDER = BatchOrder(
    batch=BATCH,
    model="vendor/model",
    framework="vllm",
    input_path="/eagle/project/input.jsonl",
    upload=None,
    input_name="input.jsonl",
    output_folder="/eagle/project/out",
    owner=("id-1", "id-2"),
    username="alice@example.org",
    share_of="project",
    weight=2.0,
    endpoint="/v1/embeddings",
    most_lines=150_000,
    most_bytes=1 << 30,
    created_at=1.0,
    expires_at=2.0,
    reserved=("cache_salt", "priority"),
    cache_salt="0a1b",
    endpoints=("/v1/embeddings", "/v1/rerank"),
    most_inputs=300_000,
)
#: What those that were not updated yet do not tell.
LATER = {"cache_salt", "endpoints", "most_inputs"}
UPLOAD = replace(ORDER, input_path=None, upload=SUM, output_folder=None, endpoint=None)
REPORT = BatchReport(
    batch=BATCH,
    state=BatchState.RUNNING,
    total=10,
    completed=4,
    failed=1,
    error_count=1,
    errors=(LineError(code="invalid_json", message="no", line=3, param="body"),),
    reason="because",
    use=BatchUse(input_tokens=5, cached_tokens=1, output_tokens=3, reasoning_tokens=2),
    model="vendor/model",
    endpoint="/v1/embeddings",
    received=3,
    output=SUM,
    error_file=SUM,
    results_path="/a/b",
    progress_path="/a/c",
    started_at=1.0,
    ended_at=2.0,
    working_s=1.0,
    lines_per_s=2.5,
    left_s=2.0,
    resumed=1,
)
CALLS = (
    BatchCall(verb=BatchVerb.SUBMIT, order=ORDER),
    BatchCall(verb=BatchVerb.SUBMIT, order=UPLOAD),
    BatchCall(verb=BatchVerb.REPORT, batches=(BATCH, "batch_2222")),
)
PIECES = (
    PieceCall(batch=BATCH, file=BatchFile.INPUT, offset=3, content=b"\0\xff"),
    PieceCall(batch=BATCH, file=BatchFile.OUTPUT, offset=0),
    PieceCall(batch=BATCH, file=BatchFile.INPUT, offset=0, content=bytes(MOST_PIECE)),
)
VALUES: tuple[Any, ...] = (
    *(
        ORDER,
        UPLOAD,
        SUM,
        *REPORT.errors,
        REPORT,
        BatchReport(batch=BATCH, state=BatchState.FAILED),
    ),
    *(*CALLS, *PIECES, BatchReports(reports=(REPORT,), unknown=("batch_gone",))),
    *(Piece(size=3), Piece(size=9, content=b"abc"), BatchUse(input_tokens=1)),
)


def over_the_wire(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_read_as_it_was_written(value: Any) -> None:
    assert type(value).from_wire(over_the_wire(value.to_wire())) == value


def test_the_values_show_every_field() -> None:
    """So that a field that is forgotten on the wire is found by the test above."""
    for value in (ORDER, REPORT):
        assert [f.name for f in fields(value) if getattr(value, f.name) is None] == (
            ["upload"] if value is ORDER else []
        )


@pytest.mark.parametrize("value", [ORDER, REPORT, CALLS[0], PIECES[0], Piece(size=1)])
def test_a_value_lacks_nothing(value: Any) -> None:
    whole = over_the_wire(value.to_wire())
    for name in whole.keys() - {"kind"} - LATER:
        with pytest.raises(ContractError):
            type(value).from_wire({key: one for key, one in whole.items() if key != name})


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": "../../etc"},
        {"batch": ".forgotten"},
        {"batch": "short"},
        {"batch": "a" * 65},
        {"batch": "batch_00000001\n"},
        {"input_path": "relative/a.jsonl"},
        {"input_path": "/a\0b"},
        {"input_path": "/" + "a" * 4096},
        {"output_folder": "~/out"},
        {"input_name": "a/b.jsonl"},
        {"input_name": ".."},
        {"input_name": ""},
        {"input_name": "a" * 256},
        {"input_name": "a\nb"},
        {"upload": SUM.to_wire()},
        {"input_path": None},
        {"owner": []},
        {"owner": ["x"] * 101},
        {"owner": [3]},
        {"weight": 0},
        {"weight": float("nan")},
        {"weight": -1},
        {"most_lines": 1_000_001},
        {"most_lines": 1.5},
        {"most_bytes": -1},
        {"created_at": -1},
        {"username": "\ud800"},
        {"endpoint": "v1/embeddings"},
        {"endpoints": "/v1/embeddings"},
        {"endpoints": ["v1/embeddings"]},
        {"endpoints": [None]},
        {"most_inputs": -1},
    ],
    ids=str,
)
def test_an_order_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        BatchOrder.from_wire(ORDER.to_wire() | changes)


@pytest.mark.parametrize(
    "wire",
    [
        CALLS[0].to_wire() | {"order": None},
        CALLS[0].to_wire() | {"verb": "report"},
        CALLS[2].to_wire() | {"verb": "submit"},
        CALLS[2].to_wire() | {"verb": "destroy"},
        CALLS[2].to_wire() | {"batches": ["a" * 9] * (MOST_BATCHES + 1)},
        CALLS[2].to_wire() | {"batches": [".."]},
    ],
)
def test_a_call_that_is_none_is_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        BatchCall.from_wire(wire)


@pytest.mark.parametrize(
    "changes",
    [{"content": "!"}, {"content": "A" * (2 * MOST_PIECE)}, {"offset": -1}, {"file": "order"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_piece_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        PieceCall.from_wire(PIECES[0].to_wire() | changes)


def test_a_site_says_no_more_than_is_read() -> None:
    errors = [LineError(code="x", message="y").to_wire()] * (MOST_ERRORS + 1)
    with pytest.raises(ContractError):
        BatchReport.from_wire(REPORT.to_wire() | {"errors": errors})
    long = BatchReport.from_wire(REPORT.to_wire() | {"reason": "r" * 9 * MOST_REASON})
    assert len(long.reason) == MOST_REASON


def test_another_version_is_told_apart() -> None:
    for value in (CALLS[0], PIECES[0], Piece(size=0), BatchReports()):
        with pytest.raises(UnsupportedProtocol):
            type(value).from_wire(value.to_wire() | {"v": 2})


def test_four_states_are_final() -> None:
    assert {state.value for state in BatchState if state.final} == {
        "completed",
        "failed",
        "cancelled",
        "expired",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
KINDS = st.sampled_from(VALUES)


@given(value=KINDS, data=st.data(), junk=JSON)
def test_a_hostile_field_is_a_contract_error_or_a_value(
    value: Any, data: st.DataObject, junk: object
) -> None:
    """Nothing else is raised, and what is read can be written again."""
    wire = value.to_wire()
    name = data.draw(st.sampled_from(sorted(wire)))
    try:
        read = type(value).from_wire(wire | {name: junk})
    except ContractError:
        return
    assert type(value).from_wire(over_the_wire(read.to_wire())) == read


@given(value=KINDS, junk=JSON)
def test_anything_at_all_is_a_contract_error_or_a_value(value: Any, junk: object) -> None:
    try:
        type(value).from_wire(junk)
    except ContractError:
        return


def test_an_order_of_who_knows_no_salts_has_none() -> None:
    wire = over_the_wire(ORDER.to_wire())
    del wire["cache_salt"]
    assert BatchOrder.from_wire(wire) == replace(ORDER, cache_salt=None)


def test_an_order_of_who_names_no_endpoints_and_bounds_no_inputs_is_read() -> None:
    wire = over_the_wire(ORDER.to_wire())
    del wire["endpoints"], wire["most_inputs"]
    assert BatchOrder.from_wire(wire) == replace(ORDER, endpoints=(), most_inputs=None)


@pytest.mark.parametrize("salt", ["", "a\0b", "a b", "x" * 129, 7])
def test_a_salt_can_be_put_into_an_environment(salt: object) -> None:
    with pytest.raises(ContractError, match="cache_salt"):
        BatchOrder.from_wire({**ORDER.to_wire(), "cache_salt": salt})
