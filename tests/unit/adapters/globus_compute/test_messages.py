"""Messages about tasks are read as JSON, and whatever else they are is an error value."""

from __future__ import annotations

import json
import uuid

import pytest
from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import EPStatusReport, Result
from globus_compute_sdk.serialize import DillDataBase64, PureSourceTextInspect

from resource_server.adapters.globus_compute.messages import (
    UNREADABLE,
    MessageError,
    read_message,
    read_record,
)

TASK = "7b0a7a42-7a9c-4a2f-8a51-0d1a3f1c9e11"


def message(data: str, **details: object) -> bytes:
    packed: bytes = messagepack.pack(Result(task_id=TASK, data=data, **details))
    return packed


def test_a_return_value_is_read() -> None:
    body = message("11\n" + json.dumps({"kind": "answer", "text": "é"}))
    result = read_message(body)
    assert (result.task_id, result.value) == (TASK, {"kind": "answer", "text": "é"})
    assert result.failure_code is None
    assert result.size == len(body)


def test_a_failure_keeps_its_code_and_text() -> None:
    error = {"code": "RemoteExecutionError", "user_message": "An error occurred"}
    result = read_message(message("Traceback: …", error_details=error))
    assert (result.failure_code, result.failure_text) == ("RemoteExecutionError", "Traceback: …")


def harmful() -> None:
    raise AssertionError("a result was executed")


@pytest.mark.parametrize(
    "data",
    [
        DillDataBase64().serialize({"kind": "answer"}),
        PureSourceTextInspect().serialize(harmful),
        "11\n{not json",
        "11\n" + "[" * 100_000,
        "11\n" + "9" * 5_000,
        "no strategy at all",
        "",
    ],
)
def test_only_json_is_read(data: str) -> None:
    assert read_message(message(data)).failure_code == UNREADABLE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01",
        b"\x07{}",
        b"\x01[]",
        b"\x01" + b"[" * 100_000,
        b"\x01{}",
        b'\x01{"message_type": "result", "data": {"task_id": "no uuid", "data": ""}}',
        b'\x01{"message_type": "unheard_of", "data": {}}',
        b"\xff\xfe",
        messagepack.pack(
            EPStatusReport(endpoint_id=uuid.uuid4(), global_state={}, task_statuses={})
        ),
    ],
)
def test_what_is_no_result_is_an_error(body: bytes) -> None:
    with pytest.raises(MessageError):
        read_message(body)


def test_records_of_finished_tasks_are_read() -> None:
    done = read_record(TASK, {"task_id": TASK, "status": "success", "result": '11\n{"v": 1}'})
    failed = read_record(TASK, {"task_id": TASK, "status": "failed", "exception": "Traceback"})
    assert done is not None
    assert failed is not None
    assert done.value == {"v": 1}
    assert (failed.failure_code, failed.failure_text) == ("exception", "Traceback")


@pytest.mark.parametrize("record", [{"status": "waiting-for-nodes"}, {}, None, {"result": None}])
def test_records_without_a_result_say_nothing(record: object) -> None:
    assert read_record(TASK, record) is None
