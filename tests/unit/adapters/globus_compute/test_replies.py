"""What a site said becomes the gateway's answer, or an error a caller can act on."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from compute_functions.contract import (
    EngineAnswer,
    FailureCode,
    Instance,
    InstanceState,
    JsonObject,
    SiteFailure,
    SiteStatus,
)
from resource_server.adapters.globus_compute import replies
from resource_server.adapters.globus_compute.calls import TaskResult
from resource_server.adapters.globus_compute.channel import Finished
from resource_server.adapters.globus_compute.task_errors import about_task
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster, GlobusComputeTarget, Transport

CLUSTER = Cluster(
    name="polaris",
    description="",
    frameworks={},
    transports=(Transport.TASK,),
    globus_compute=GlobusComputeTarget(client="c", endpoint_id="e", functions={}),
    request_timeout_s=60,
)
SECRET = "/lustre/private on node x1007"


def finished(value: object = None, *, away_s: float = 3.0, **result: Any) -> Finished:
    values: dict[str, Any] = {"task_id": "task", "value": value} | result
    return Finished(result=TaskResult(**values), queue_s=0.5, away_s=away_s)


def failure(code: FailureCode) -> Finished:
    return finished(SiteFailure(code=code, message=SECRET).to_wire())


async def test_an_answer_arrives_as_the_engine_gave_it() -> None:
    said = EngineAnswer(
        status=418,
        body=b'{"a":  1}\n\x00\xff',
        headers={"content-type": "text/plain; charset=utf-8"},
        engine_s=1.0,
        site_s=1.25,
    )
    answer = await replies.engine_answer(CLUSTER, finished(said.to_wire()))
    assert (answer.status, answer.body) == (418, b'{"a":  1}\n\x00\xff')
    assert answer.content_type == "text/plain; charset=utf-8"
    assert (answer.transport, answer.task_id) == ("task", "task")
    hops = answer.hops
    assert (hops.queue_s, hops.transport_s, hops.site_s, hops.engine_s) == (0.5, 1.75, 0.25, 1.0)


async def test_the_engine_s_word_on_when_to_come_back_is_passed_on() -> None:
    headers = {"content-type": "application/json", "retry-after": "7", "server": "uvicorn"}
    said = EngineAnswer(status=503, body=b"{}", headers=headers)
    answer = await replies.engine_answer(CLUSTER, finished(said.to_wire()))
    assert answer.headers == {"retry-after": "7"}


@pytest.mark.parametrize("value", ["1\r\nset-cookie: x", "\x00"])
async def test_a_header_with_a_line_break_is_the_site_s_fault(value: str) -> None:
    said = EngineAnswer(status=200, body=b"{}", headers={"retry-after": value})
    with pytest.raises(errors.BackendUnavailable):
        await replies.engine_answer(CLUSTER, finished(said.to_wire()))


@pytest.mark.parametrize("value", ["\u00e9", "x" * 1000])
async def test_what_cannot_be_a_header_is_left_out(value: str) -> None:
    said = EngineAnswer(
        status=200, body=b"{}", headers={"content-type": value, "retry-after": value}
    )
    answer = await replies.engine_answer(CLUSTER, finished(said.to_wire()))
    assert answer.content_type == "application/json"
    assert answer.headers == {}


@pytest.mark.parametrize("status", [0, 99, 101, 600, -1, 10**9])
async def test_a_status_that_http_does_not_know_is_the_site_s_fault(status: int) -> None:
    said = EngineAnswer(status=status, body=b"{}")
    with pytest.raises(errors.BackendUnavailable):
        await replies.engine_answer(CLUSTER, finished(said.to_wire()))


async def test_a_large_answer_arrives_as_well() -> None:
    said = EngineAnswer(status=200, body=b"x" * 1_000_000)
    answer = await replies.engine_answer(CLUSTER, finished(said.to_wire(), size=1_000_000))
    assert answer.body == said.body
    assert answer.content_type == "application/json"


@pytest.mark.parametrize(("length", "thread"), [(100_000, "loop"), (8_000_000, "another")])
async def test_what_becomes_large_is_unpacked_beside_the_loop(length: int, thread: str) -> None:
    class Wire(dict[str, object]):
        """A value that notes which thread reads it."""

        def get(self, name: str, default: object = None) -> object:
            if name == "v":
                readers.add("loop" if threading.get_ident() == loop else "another")
            return super().get(name, default)

    readers: set[str] = set()
    loop = threading.get_ident()
    said = EngineAnswer(status=200, body=b"x" * length)
    answer = await replies.engine_answer(CLUSTER, finished(Wire(said.to_wire()), size=1_000))
    assert answer.body == said.body
    assert readers == {thread}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (FailureCode.MODEL_NOT_RUNNING, errors.ModelNotRunning),
        (FailureCode.ENGINE_UNREACHABLE, errors.BackendUnavailable),
        (FailureCode.ENGINE_TIMEOUT, errors.BackendTimeout),
        (FailureCode.RESPONSE_TOO_LARGE, errors.AnswerTooLarge),
        (FailureCode.PATH_NOT_ALLOWED, errors.InvalidRequest),
        (FailureCode.INVALID_REQUEST, errors.InvalidRequest),
        (FailureCode.UNSUPPORTED_PROTOCOL, errors.BackendUnavailable),
        (FailureCode.SITE_MISCONFIGURED, errors.BackendUnavailable),
    ],
)
async def test_each_failure_of_a_site_has_its_error(
    code: FailureCode, kind: type[errors.HotnodeError]
) -> None:
    with pytest.raises(kind) as caught, capture_logs() as logs:
        await replies.engine_answer(CLUSTER, failure(code))
    assert type(caught.value) is kind
    assert [entry["text"] for entry in logs if entry["event"] == "site_failure"] == [SECRET]


@pytest.mark.parametrize("code", sorted(FailureCode))
async def test_only_a_model_that_does_not_run_is_worth_another_try(code: FailureCode) -> None:
    with pytest.raises(errors.HotnodeError) as caught:
        await replies.engine_answer(CLUSTER, failure(code))
    worth = about_task(caught.value, "task").retry_after_s is not None
    assert worth is (code is FailureCode.MODEL_NOT_RUNNING)
    assert caught.value.task_id == "task"


async def test_a_task_that_failed_is_not_worth_another_try() -> None:
    with pytest.raises(errors.BackendUnavailable) as caught:
        await replies.engine_answer(CLUSTER, finished(failure_code="RemoteExecutionError"))
    assert about_task(caught.value, "task").retry_after_s is None


@pytest.mark.parametrize("code", sorted(FailureCode))
async def test_a_caller_is_told_no_internals(code: FailureCode) -> None:
    with pytest.raises(errors.HotnodeError) as caught:
        await replies.engine_answer(CLUSTER, failure(code))
    assert SECRET not in caught.value.message
    assert len(caught.value.message) > 20


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"v": 99, "kind": "answer"},
        {"v": 1, "kind": "surprise"},
        EngineAnswer(status=200, body=b"").to_wire() | {"body": {"zlib": "!"}},
        SiteStatus(observed_at=1.0).to_wire(),
        EngineAnswer(status=200, body=b"").to_wire() | {"status": float("nan")},
        EngineAnswer(status=200, body=b"").to_wire() | {"engine_s": 10**400},
        EngineAnswer(status=200, body=b"").to_wire() | {"body": {"text": "\ud800"}},
    ],
)
async def test_a_site_that_speaks_otherwise_is_the_operators_business(value: object) -> None:
    with pytest.raises(errors.BackendUnavailable, match="operators"), capture_logs() as logs:
        await replies.engine_answer(CLUSTER, finished(value))
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("site_contract_broken", "error")
    ]


async def test_the_text_of_a_task_s_exception_stays_in_the_log() -> None:
    broken = finished(failure_code="RemoteExecutionError", failure_text=f"Traceback {SECRET}")
    with pytest.raises(errors.BackendUnavailable) as caught, capture_logs() as logs:
        await replies.engine_answer(CLUSTER, broken)
    assert "Traceback" not in caught.value.message
    assert logs[0]["event"] == "globus_task_failed"
    assert SECRET in logs[0]["text"]


async def test_a_result_over_the_limit_of_the_agent_is_an_answer_too_large() -> None:
    large = finished(failure_code="MaxResultSizeExceeded", failure_text="12 MB")
    with pytest.raises(errors.AnswerTooLarge):
        await replies.engine_answer(CLUSTER, large)


async def test_a_status_is_read() -> None:
    seen = SiteStatus(
        observed_at=1.0,
        instances=(
            Instance(
                model="m",
                framework="vllm",
                state=InstanceState.READY,
                job_id="1",
                host="h",
                started_at=0.0,
            ),
        ),
    )
    assert await replies.site_status(CLUSTER, finished(seen.to_wire())) == seen


async def test_an_answer_is_no_status() -> None:
    wire: JsonObject = EngineAnswer(status=200, body=b"").to_wire()
    with pytest.raises(errors.BackendUnavailable):
        await replies.site_status(CLUSTER, finished(wire))
