from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.domain.inference import Hops, InferenceAnswer, LateAnswer, Usage

TOKEN = "t" * 32
RECORD = {"method": "GET", "path": "/health", "route": "/health", "status": 200}
LATE = LateAnswer(
    request_id="req_1",
    cluster="c",
    framework="vllm",
    model="m",
    operation="completions",
    answer=InferenceAnswer(
        status=200,
        body=b"",
        content_type="application/json",
        transport="task",
        hops=Hops(),
        task_id="task-1",
    ),
    usage=Usage(input_tokens=3),
)


class TracerThatRemembers:
    """Follows one request, and keeps what it is told of it."""

    trace_id = "0af7651916cd43dd8448eb211c80319c"

    def __init__(self) -> None:
        self.ended: list[Mapping[str, Any]] = []

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> TracerThatRemembers:
        return self

    def onward(self) -> Mapping[str, str]:
        return {"traceparent": "of-the-gateway"}

    def streams(self) -> None:
        raise NotImplementedError

    def end(self, record: Mapping[str, Any]) -> None:
        self.ended.append(record)

    def late(self, late: LateAnswer) -> None:
        raise NotImplementedError


async def page_of(instrumentation: Instrumentation) -> str:
    metrics = instrumentation.metrics(TOKEN)
    assert metrics is not None
    return (await metrics.page("")).content.decode()


@pytest.mark.parametrize("counted", [True, False])
async def test_requests_are_counted_only_where_that_is_asked_for(counted):
    instrumentation = Instrumentation(counted=counted)
    request = instrumentation.observer().begin([])
    request.end(RECORD)
    assert ('route="/health"' in await page_of(instrumentation)) == counted
    assert (request.trace_id, dict(request.onward())) == (None, {})


@pytest.mark.parametrize("counted", [True, False])
def test_traces_do_not_depend_on_metrics(counted):
    tracer = TracerThatRemembers()
    request = Instrumentation(counted=counted).observer(tracer).begin([])
    request.end(RECORD)
    assert request.trace_id == tracer.trace_id
    assert request.onward() == {"traceparent": "of-the-gateway"}
    assert tracer.ended == [RECORD]


@pytest.mark.parametrize("counted", [True, False])
def test_what_came_of_a_request_whose_caller_left_is_logged_in_any_case(counted):
    with capture_logs() as events:
        Instrumentation(counted=counted).observer().late(LATE)
    assert events == [
        {
            "event": "late_answer",
            "log_level": "info",
            "request_id": "req_1",
            "cluster": "c",
            "framework": "vllm",
            "model": "m",
            "operation": "completions",
            "result": "answered",
            "status": 200,
            "transport": "task",
            "globus_task_id": "task-1",
            **LATE.usage.numbers(),
        }
    ]
