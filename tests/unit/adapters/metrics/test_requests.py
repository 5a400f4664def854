from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from resource_server.adapters.metrics.instruments import Instruments
from resource_server.adapters.metrics.requests import RequestMetrics
from resource_server.adapters.metrics.series import OVERFLOW, Series
from resource_server.domain.inference import Hops, InferenceAnswer, LateAnswer, Usage
from tests.support.watch import Scrape

RECORD = {
    "method": "POST",
    "path": "/v1/chat/completions",
    "route": "/v1/chat/completions",
    "operation": "chat/completions",
    "cluster": "c",
    "framework": "vllm",
    "model": "m",
    "status": 200,
    "duration_ms": 1500.0,
    "request_id": "req_1",
}
SERVED = {"cluster": "c", "framework": "vllm", "model": "m", "operation": "chat/completions"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> RequestMetrics:
    return RequestMetrics(Instruments(registry))


def shown(registry: CollectorRegistry) -> Scrape:
    return Scrape(generate_latest(registry).decode())


def test_a_request_is_counted_by_its_line(metrics, registry):
    metrics.begun()
    metrics.begun()
    tokens = {"input_tokens": 3, "output_tokens": 4, "cached_tokens": 2, "reasoning_tokens": 0}
    hops = {"gateway_ms": 2.0, "queue_ms": 0.0, "transport_ms": 400.0, "site_ms": 98.0}
    metrics.ended(RECORD | tokens | hops | {"engine_ms": 1000.0, "user_id": "u"})
    metrics.show_in_flight()
    page = shown(registry)
    assert page.value("hotnode_requests_in_flight") == 1
    assert page.value("hotnode_requests_total", **SERVED, status="200", code="") == 1
    assert page.value("hotnode_http_requests_total", method="POST", status="200") == 1
    assert page.value("hotnode_tokens_total", model="m", kind="input") == 3
    assert page.value("hotnode_tokens_total", model="m", kind="output") == 4
    assert page.value("hotnode_tokens_total", model="m", kind="cached") == 2
    assert page.value("hotnode_token_checks_total", result="accepted") == 1
    sums = {labels["hop"]: v for labels, v in page.series("hotnode_request_seconds_sum")}
    assert sums == {
        "total": 1.5,
        "gateway": 0.002,
        "queue": 0.0,
        "transport": 0.4,
        "site": 0.098,
        "engine": 1.0,
    }


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"status": 503, "error_code": "backend_unavailable"}, "backend_unavailable"),
        ({"status": 499, "client": "left"}, "client_left"),
        ({"status": 499, "client": "stalled", "error_code": "internal_error"}, "client_stalled"),
        ({"status": 422, "error_code": "engine_error"}, "engine_error"),
    ],
)
def test_a_failure_is_counted_by_its_code(metrics, registry, fields, code):
    metrics.ended(RECORD | fields)
    status = str(fields["status"])
    assert shown(registry).value("hotnode_requests_total", status=status, code=code) == 1


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({"error_code": "invalid_api_key"}, "refused"),
        ({"error_code": "identity_service_unavailable"}, "unavailable"),
        ({"error_code": "model_not_found", "user_id": "u"}, "accepted"),
    ],
)
def test_what_a_token_was_worth(metrics, registry, fields, result):
    metrics.ended(RECORD | fields)
    assert shown(registry).value("hotnode_token_checks_total", result=result) == 1


def test_a_refusal_by_a_limit_is_counted_by_its_measure(metrics, registry):
    metrics.ended(RECORD | {"status": 429, "limit": "tokens"})
    assert shown(registry).value("hotnode_limit_refusals_total", measure="tokens") == 1


def test_what_an_engine_did_for_nobody_is_counted(metrics, registry):
    answer = InferenceAnswer(status=200, body=b"", content_type="", transport="task", hops=Hops())
    late: dict[str, Any] = {"request_id": "req_1", **SERVED}
    metrics.late(LateAnswer(**late, answer=answer, usage=Usage(input_tokens=5, output_tokens=6)))
    metrics.late(LateAnswer(**late, answer=None, usage=None))
    page = shown(registry)
    assert page.value("hotnode_late_answers_total", **SERVED, result="answered") == 1
    assert page.value("hotnode_late_answers_total", **SERVED, result="unknown") == 1
    assert page.value("hotnode_tokens_total", cluster="c", model="m", kind="output") == 6


def test_methods_that_nobody_knows_share_a_series(metrics, registry):
    for number in range(1000):
        metrics.ended({**RECORD, "method": f"X{number}", "path": f"/{number}", "status": 405})
    counted = list(shown(registry).series("hotnode_http_requests_total"))
    assert [(labels["method"], value) for labels, value in counted] == [("_OTHER", 1000)]


def test_one_metric_has_a_limited_number_of_series(registry):
    counter = Counter("c_total", "c", ("a", "b"), registry=registry)
    series = Series(counter, most=10)
    for number in range(100):
        series.of(str(number), "b").inc()
    series.of("3", "b").inc()
    page = shown(registry)
    assert len(list(page.series("c_total"))) == 11
    assert page.value("c_total", a=OVERFLOW, b=OVERFLOW) == 90
    assert page.value("c_total", a="3") == 2
