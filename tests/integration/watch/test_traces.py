"""Traces as a collector receives them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from resource_server.adapters.tracing.exporter import open_tracer
from resource_server.adapters.tracing.requests import RequestTracer
from resource_server.domain import errors
from tests.support.collector import Collector, collector
from tests.support.watch import Watch
from tests.support.watched_gateway import ALICE, Watched, watched_gateway

CHAT = "/resource_server/local/vllm/v1/chat/completions"
SERVER = "POST /resource_server/{cluster}/{framework}/v1/chat/completions"
BODY = {
    "model": "chat",
    "messages": [{"role": "user", "content": "a secret prompt"}],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 2},
    },
}
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
async def traces() -> AsyncIterator[Collector]:
    async with collector() as taken:
        yield taken


@pytest.fixture
async def gateway(traces: Collector) -> AsyncIterator[Watched]:
    headers = {"Authorization": "Bearer for-the-collector"}
    async with (
        open_tracer(traces.url, headers=headers, sample_ratio=1.0) as tracer,
        watched_gateway(Watch(tracer=RequestTracer(tracer))) as watched,
    ):
        yield watched


async def test_a_request_is_one_trace_from_caller_to_engine(gateway, traces):
    headers = ALICE | {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "a=b"}
    async with gateway.client.post(CHAT, json=BODY, headers=headers) as response:
        request_id = response.headers["x-request-id"]
    server = await traces.one(SERVER)
    chat = await traces.one("chat chat")
    queue, task, site, engine = [
        await traces.one(name) for name in ("queue", "task", "site", "engine")
    ]
    assert {span.trace_id for span in traces.spans} == {TRACE}
    assert (server.kind, server.parent_id) == ("server", CALLER)
    assert (chat.kind, chat.parent_id) == ("client", server.span_id)
    assert (queue.parent_id, task.parent_id) == (chat.span_id, chat.span_id)
    assert (site.parent_id, engine.parent_id) == (task.span_id, site.span_id)
    hops = {"queue": queue, "task": task, "site": site, "engine": engine}
    assert {name: span.milliseconds for name, span in hops.items()} == {
        "queue": 1.0,
        "task": 251.0,
        "site": 51.0,
        "engine": 50.0,
    }
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": SERVER.removeprefix("POST "),
        "url.scheme": "http",
        "url.path": CHAT,
        "http.response.status_code": 200,
        "http.response.header.x-request-id": [request_id],
    }
    line = gateway.line()
    assert chat.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "chat",
        "gen_ai.response.model": "open/chat",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "server.address": "local",
        "hotnode.transport": "task",
        "hotnode.globus_task_id": line["globus_task_id"],
    }
    assert line["trace_id"] == TRACE
    onward = gateway.backend.asked[0].headers
    assert onward["traceparent"] == f"00-{TRACE}-{chat.span_id}-01"
    assert onward["tracestate"] == "a=b"
    assert traces.headers[0]["authorization"] == "Bearer for-the-collector"
    assert traces.resource["service.name"] == "hotnode"
    for secret in ("a secret prompt", "alice"):
        assert secret not in repr(traces.spans)


async def test_a_caller_who_records_nothing_gets_nothing_recorded(gateway, traces):
    unsampled = ALICE | {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    async with gateway.client.post(CHAT, json=BODY, headers=unsampled):
        pass
    async with gateway.client.get("/health"):
        pass
    await traces.one("GET /health")
    assert [span.name for span in traces.spans] == ["GET /health"]
    assert gateway.backend.asked[0].headers["traceparent"].startswith(f"00-{TRACE}-")
    assert gateway.backend.asked[0].headers["traceparent"].endswith("-00")


async def test_failures_are_marked_with_their_code(gateway, traces):
    gateway.backend.error = errors.BackendTimeout("late")
    async with gateway.client.post(CHAT, json=BODY, headers=ALICE):
        pass
    server, chat = await traces.one(SERVER), await traces.one("chat chat")
    for span in (server, chat):
        assert span.failed
        assert span.attributes["error.type"] == "backend_timeout"
    assert "queue" not in {span.name for span in traces.spans}


async def test_a_request_that_was_refused_never_left(gateway, traces):
    body = {"model": "none", "messages": []}
    async with gateway.client.post(CHAT, json=body, headers=ALICE):
        pass
    server = await traces.one(SERVER)
    assert not server.failed
    assert len(traces.spans) == 1


async def test_a_share_of_nothing_records_nothing(traces):
    async with (
        open_tracer(traces.url, headers={}, sample_ratio=0.0) as tracer,
        watched_gateway(Watch(tracer=RequestTracer(tracer))) as gateway,
        gateway.client.post(CHAT, json=BODY, headers=ALICE) as response,
    ):
        assert response.status == 200
    assert traces.headers == []


async def test_a_collector_that_refuses_costs_one_line(traces):
    traces.status = 400
    with capture_logs() as events:
        async with open_tracer(traces.url, headers={}, sample_ratio=1.0) as tracer:
            for _ in range(3):
                traces.grown.clear()
                tracer.start_span("lost").end()
                async with asyncio.timeout(20):
                    await traces.grown.wait()
    mentioned = [e for e in events if e["event"] == "traces_not_delivered"]
    assert [(e["log_level"], e["spans_lost"]) for e in mentioned] == [("warning", 1)]


async def test_a_collector_that_is_away_stops_no_request(caplog):
    nowhere = "http://127.0.0.1:9"
    with capture_logs() as events:
        async with (
            open_tracer(nowhere, headers={}, sample_ratio=1.0) as tracer,
            watched_gateway(Watch(tracer=RequestTracer(tracer))) as gateway,
            gateway.client.post(CHAT, json=BODY, headers=ALICE) as response,
        ):
            assert response.status == 200
    assert [e["event"] for e in events] == ["traces_not_delivered"]
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


def test_without_a_collector_no_library_for_traces_is_loaded():
    program = "import sys, resource_server.config, resource_server.adapters.metrics.instrumentation"
    check = "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, "-c", f"{program}\n{check}"], check=True, timeout=60
    )
