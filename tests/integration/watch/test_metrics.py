from __future__ import annotations

import asyncio

import pytest

from resource_server.domain import errors
from resource_server.domain.inference import Stopped
from resource_server.domain.limits import Measure
from tests.support.eventually import eventually
from tests.support.watch import METRICS_TOKEN, Watch
from tests.support.watched_gateway import ALICE, BackendThatIsLate, late_answer, watched_gateway

CHAT = "/resource_server/local/vllm/v1/chat/completions"
TEMPLATE = "/resource_server/{cluster}/{framework}/v1/chat/completions"
BODY = {
    "model": "open/chat",
    "messages": [],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}
SERVED = {
    "cluster": "local",
    "framework": "vllm",
    "model": "open/chat",
    "operation": "chat/completions",
}


async def test_a_request_is_counted_where_it_was_served(gateway):
    for url in (CHAT, "/v1/chat/completions"):
        async with gateway.client.post(url, json=BODY, headers=ALICE) as response:
            assert response.status == 200
    page = await gateway.metrics()
    assert page.value("hotnode_requests_total", **SERVED, status="200", code="") == 2
    assert page.value("hotnode_http_requests_total", route=TEMPLATE, method="POST") == 1
    assert page.value("hotnode_tokens_total", cluster="local", model="open/chat", kind="input") == 6
    assert page.value("hotnode_request_seconds_count", **SERVED, hop="engine") == 2
    assert page.value("hotnode_request_seconds_sum", **SERVED, hop="engine") == pytest.approx(0.1)
    assert page.value("hotnode_token_checks_total", result="accepted") == 2
    assert page.value("hotnode_introspection_seconds_count", result="granted") == 1
    assert page.value("hotnode_catalog_version") == 7
    assert page.value("hotnode_catalog_checked_timestamp_seconds") > 0
    assert page.value("hotnode_requests_in_flight") == 1, "the reading of the page itself"


async def test_refusals_are_counted_by_their_code(gateway):
    async def post(url: str, body: object, headers: object = ALICE) -> None:
        async with gateway.client.post(url, json=body, headers=headers):
            pass

    await post(CHAT, BODY, {})
    await post(CHAT, BODY, {"Authorization": "Bearer nobody"})
    await post(CHAT, {"model": "none", "messages": []})
    gateway.backend.error = errors.BackendUnavailable("away")
    await post("/v1/chat/completions", BODY)
    gateway.backend.error = errors.RateLimited(retry_after_s=1, measure=Measure.TOKENS)
    await post(CHAT, BODY)
    gateway.backend.error = None
    gateway.backend.status = 422
    await post(CHAT, BODY)
    page = await gateway.metrics()
    codes = {
        (labels["cluster"], labels["model"], labels["status"], labels["code"]): value
        for labels, value in page.series("hotnode_requests_total")
    }
    assert codes == {
        ("", "", "401", "invalid_api_key"): 2,
        ("local", "", "404", "model_not_found"): 1,
        ("local", "open/chat", "503", "backend_unavailable"): 1,
        ("local", "open/chat", "429", "rate_limit_exceeded"): 1,
        ("local", "open/chat", "422", "engine_error"): 1,
    }
    assert page.value("hotnode_limit_refusals_total", measure="tokens") == 1
    assert page.value("hotnode_token_checks_total", result="refused") == 2
    assert page.value("hotnode_introspection_seconds_count", result="refused") == 1


async def test_what_strangers_send_makes_no_series(gateway):
    before = len((await gateway.metrics()).text.splitlines())
    for number in range(1000):
        body = {"model": f"model-{number}", "messages": []}
        url = CHAT if number % 2 else f"/resource_server/c{number}/f{number}/v1/chat/completions"
        async with gateway.client.post(url, json=body, headers=ALICE):
            pass
        async with gateway.client.request("PROPFIND", f"/nothing/{number}"):
            pass
    page = await gateway.metrics()
    for number in (1, 998):
        for hostile in (f"model-{number}", f"c{number}", f"f{number}", f"/nothing/{number}"):
            assert f'"{hostile}"' not in page.text
    assert page.value("hotnode_http_requests_total", route="unmatched", method="_OTHER") == 1000
    assert len(page.text.splitlines()) - before < 100


async def test_who_leaves_is_counted_and_so_is_what_the_engine_did_then():
    backend = BackendThatIsLate(late_answer())
    async with watched_gateway(backend=backend) as gateway:
        asking = asyncio.create_task(gateway.client.post(CHAT, json=BODY, headers=ALICE))
        await backend.reached.wait()
        asking.cancel()
        await asyncio.wait([asking])
        await eventually(lambda: any(e["event"] == "http_request" for e in gateway.events))
        page = await gateway.metrics()
        line = gateway.line()
        (late,) = [e for e in gateway.events if e["event"] == "late_answer"]
    assert (line["status"], line["client"]) == (499, "left")
    assert late["request_id"] == line["request_id"]
    assert (late["model"], late["result"], late["status"]) == ("open/chat", "answered", 200)
    assert (late["input_tokens"], late["output_tokens"]) == (5, 6)
    assert late["globus_task_id"] == "task-1"
    assert page.value("hotnode_requests_total", status="499", code="client_left") == 1
    assert page.value("hotnode_late_answers_total", **SERVED, result="answered") == 1
    assert page.value("hotnode_tokens_total", model="open/chat", kind="output") == 6


async def test_who_leaves_an_engine_that_is_stopped_then_is_counted():
    backend = BackendThatIsLate(Stopped.CANCELLED)
    async with watched_gateway(backend=backend) as gateway:
        asking = asyncio.create_task(gateway.client.post(CHAT, json=BODY, headers=ALICE))
        await backend.reached.wait()
        asking.cancel()
        await asyncio.wait([asking])
        await eventually(lambda: any(e["event"] == "http_request" for e in gateway.events))
        page = await gateway.metrics()
        line = gateway.line()
        (late,) = [e for e in gateway.events if e["event"] == "late_answer"]
    assert (line["status"], line["client"], line["model"]) == (499, "left", "open/chat")
    assert (late["request_id"], late["result"]) == (line["request_id"], "cancelled")
    assert "output_tokens" not in late
    assert page.value("hotnode_requests_total", status="499", code="client_left") == 1
    assert page.value("hotnode_late_answers_total", **SERVED, result="cancelled") == 1


async def test_without_its_token_the_page_is_closed(gateway):
    for headers in ({}, ALICE, {"Authorization": "Bearer x"}, {"Authorization": "Bearer é"}):
        async with gateway.client.get("/metrics", headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert "hotnode_" not in await response.text()


async def test_without_a_token_set_there_is_no_page():
    async with watched_gateway(Watch(token=None)) as gateway:
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        async with gateway.client.get("/metrics", headers=headers) as response:
            assert response.status == 404
            mine = await response.text()
        async with gateway.client.get("/nothing", headers=headers) as absent:
            theirs = await absent.text()
    assert mine == theirs.replace("/nothing", "/metrics")


async def test_a_reader_may_ask_for_openmetrics(gateway):
    headers = {
        "Authorization": f"Bearer {METRICS_TOKEN}",
        "Accept": "application/openmetrics-text; version=1.0.0",
    }
    async with gateway.client.get("/metrics", headers=headers) as response:
        assert response.content_type == "application/openmetrics-text"
        assert (await response.text()).endswith("# EOF\n")
