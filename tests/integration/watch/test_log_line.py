"""The one line of each request: what stands in it, and what never does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resource_server.domain import errors
from tests.support.watched_gateway import ALICE

CHAT = "/resource_server/local/vllm/v1/chat/completions"
PAGE = Path(__file__).parents[3] / "docs" / "operators" / "watch-the-gateway.md"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def documented() -> set[str]:
    """Return the fields in the page's table of the line."""
    table = PAGE.read_text().partition("## The line of a request")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


async def test_it_says_who_asked_what_and_what_came_of_it(gateway):
    body = {
        "model": "chat",
        "messages": [{"role": "user", "content": "a secret prompt"}],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }
    headers = ALICE | {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    async with gateway.client.post(f"{CHAT}?secret=1", json=body, headers=headers) as response:
        request_id = response.headers["x-request-id"]
    line = gateway.line()
    expected = {
        "username": "alice@example.org",
        "method": "POST",
        "path": CHAT,
        "route": "/resource_server/{cluster}/{framework}/v1/chat/completions",
        "operation": "chat/completions",
        "cluster": "local",
        "framework": "vllm",
        "model": "open/chat",
        "alias": "chat",
        "status": 200,
        "input_tokens": 3,
        "output_tokens": 4,
        "cached_tokens": 2,
        "reasoning_tokens": 1,
        "transport": "task",
        "queue_ms": 1.0,
        "transport_ms": 200.0,
        "site_ms": 1.0,
        "engine_ms": 50.0,
        "request_id": request_id,
        "trace_id": TRACE,
    }
    assert line.items() >= expected.items()
    assert line.keys() >= {"user_id", "globus_task_id", "duration_ms", "gateway_ms", "bytes_out"}
    assert line.keys() - {"event", "log_level"} <= documented()
    everything = repr(gateway.events)
    for secret in ("a secret prompt", "Bearer", "secret=1"):
        assert secret not in everything


async def test_it_says_why_a_request_failed_and_where(gateway):
    gateway.backend.error = errors.BackendTimeout("late")
    gateway.backend.error.task_id = "task-1"
    body = {"model": "open/chat", "messages": []}
    async with gateway.client.post("/v1/chat/completions", json=body, headers=ALICE):
        line = gateway.line()
    assert line["error_code"] == "backend_timeout"
    assert (line["cluster"], line["framework"]) == ("local", "vllm")
    assert line["globus_task_id"] == "task-1"
    assert line.keys() - {"event", "log_level"} <= documented()


@pytest.mark.parametrize(
    "traceparent", ["", "00-0-0-01", f"00-{TRACE}", f"00-{'0' * 32}-00f067aa0ba902b7-01", "x" * 999]
)
async def test_a_trace_that_is_none_is_not_named(gateway, traceparent):
    body = {"model": "open/chat", "messages": []}
    headers = ALICE | {"traceparent": traceparent}
    async with gateway.client.post(CHAT, json=body, headers=headers):
        assert "trace_id" not in gateway.line()


async def test_a_trace_that_no_header_can_carry_goes_no_further(gateway):
    body = {"model": "open/chat", "messages": []}
    headers = ALICE | {"traceparent": "00-\x85", "tracestate": "a=b"}
    async with gateway.client.post(CHAT, json=body, headers=headers):
        pass
    [asked] = gateway.backend.asked
    assert "traceparent" not in asked.headers
    assert asked.headers["tracestate"] == "a=b"


async def test_names_that_are_none_are_not_in_it(gateway):
    url = "/resource_server/my-password/x/v1/chat/completions"
    body = {"model": "a secret prompt", "messages": []}
    async with gateway.client.post(url, json=body, headers=ALICE):
        line = gateway.line()
    assert not line.keys() & {"cluster", "framework", "model", "alias", "project"}
