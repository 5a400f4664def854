from __future__ import annotations

import json
from io import BytesIO
from uuid import UUID

import openai
import pytest

from resource_server.domain import errors

BASE = "/resource_server/local/vllm/v1"
CHAT = f"{BASE}/chat/completions"
#: Spaces, key order, an unknown field, a non-ASCII character and an escape: none may change.
BODY = '{"model":  "open/chat", "top_k": 5,\n"messages": [{"role": "user", "content": "é\\u00e9"}]}'


async def post(service, body: str | BytesIO, *, path: str = CHAT, person: str = "alice"):
    async with service.client.post(path, data=body, headers=service.headers(person)) as response:
        return response.status, dict(response.headers), await response.read()


async def error_of(service, body: str | BytesIO, **where: str) -> tuple[int, dict[str, object]]:
    status, headers, content = await post(service, body, **where)
    assert headers["X-Request-ID"].startswith("req_")
    return status, json.loads(content)["error"]


@pytest.mark.row("C-21")
@pytest.mark.row("C-24")
@pytest.mark.parametrize("route", ["chat/completions", "completions"])
async def test_body_and_answer_pass_byte_for_byte(service, route):
    status, headers, content = await post(service, BODY, path=f"{BASE}/{route}")
    assert (status, content) == (200, BODY.encode())
    [asked] = service.backend.asked
    assert asked.body == BODY.encode()
    assert asked.path == f"/v1/{route}"
    assert headers["Content-Type"] == "application/json"


async def test_the_answer_says_how_it_came(service):
    _, headers, _ = await post(service, BODY)
    assert headers["x-hotnode-transport"] == "task"
    assert UUID(headers["x-hotnode-globus-task-id"])
    timing = headers["Server-Timing"]
    assert "task;dur=200.0" in timing
    assert "engine;dur=50.0" in timing
    assert headers["X-Request-ID"].startswith("req_")


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
async def test_an_engine_s_error_keeps_status_and_body(service, status):
    service.backend.status = status
    got, _, content = await post(service, BODY)
    assert (got, content) == (status, BODY.encode())


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ("no json", 400, "invalid_request", None),
        ("{}", 400, "invalid_request", "model"),
        ('{"model": "absent"}', 404, "model_not_found", "model"),
        ('{"model": "private/chat"}', 404, "model_not_found", "model"),
        ('{"model": "open/chat", "priority": 1}', 400, "reserved_field", "priority"),
        ('{"model": "open/chat", "api_port": 1}', 400, "reserved_field", "api_port"),
    ],
)
async def test_a_refusal_has_openai_s_envelope_and_reaches_no_engine(
    service, body, status, code, param
):
    got, error = await error_of(service, body)
    assert (got, error["code"], error["param"]) == (status, code, param)
    assert set(error) == {"message", "type", "param", "code"}
    assert service.backend.asked == []


@pytest.mark.parametrize("body", [BODY, None], ids=["a body", "none"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_another_method_than_the_route_s_reaches_no_engine(service, method, body):
    headers = service.headers("alice")
    async with service.client.request(method, CHAT, data=body, headers=headers) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert (await response.json())["error"]["code"] == "method_not_allowed"
    assert service.backend.asked == []


@pytest.mark.parametrize("body", [BODY, None], ids=["a body", "none"])
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer x"}, {"x-api-key": "x"}], ids=str)
async def test_nobody_reaches_an_engine_without_a_good_token(service, header, body):
    async with service.client.post(CHAT, data=body, headers=header) as response:
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await response.json())["error"]["type"] == "authentication_error"
    assert service.backend.asked == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/resource_server/absent/vllm/v1/chat/completions", 404, "cluster_not_found"),
        ("/resource_server/local/absent/v1/chat/completions", 404, "framework_not_found"),
        ("/resource_server/closed/vllm/v1/chat/completions", 403, "permission_denied"),
        ("/resource_server/local/vllm/v1/absent", 404, "not_found"),
    ],
)
async def test_a_wrong_place_is_named(service, path, status, code):
    got, error = await error_of(service, BODY, path=path)
    assert (got, error["code"]) == (status, code)


@pytest.mark.row("C-57")
async def test_a_body_over_the_limit_gets_413_with_the_way_out(service):
    big = BytesIO(json.dumps({"model": "open/chat", "prompt": "x" * 2_000_000}).encode())
    got, error = await error_of(service, big)
    assert (got, error["code"]) == (413, "payload_too_large")
    assert "2" in str(error["message"])
    assert service.backend.asked == []


async def test_a_model_that_is_not_loaded_says_when_to_come_back(service):
    service.backend.error = errors.ModelNotRunning()
    status, headers, content = await post(service, BODY)
    assert (status, json.loads(content)["error"]["code"]) == (503, "model_not_running")
    assert int(headers["Retry-After"]) > 0
    assert headers["x-should-retry"] == "true"


async def test_a_timeout_is_not_repeated_by_clients(service):
    service.backend.error = errors.BackendTimeout()
    status, headers, content = await post(service, BODY)
    assert (status, json.loads(content)["error"]["code"]) == (504, "backend_timeout")
    assert headers["x-should-retry"] == "false"


async def test_what_may_already_run_is_not_announced_as_worth_repeating(service):
    service.backend.error = errors.BackendUnavailable("It may still run.")
    service.backend.error.retry_after_s = None
    status, headers, _ = await post(service, BODY)
    assert status == 503
    assert headers["x-should-retry"] == "false"
    assert "Retry-After" not in headers


@pytest.mark.parametrize("model_id", ["open/chat", "open%2Fchat"])
async def test_a_model_is_described_under_either_form_of_its_id(service, model_id):
    path = f"{BASE}/models/{model_id}"
    async with service.client.get(path, headers=service.headers("alice")) as response:
        found = await response.json()
    assert response.status == 200
    assert found["id"] == "open/chat"
    assert found["object"] == "model"
    assert found["owned_by"] == "open"
    assert found["max_model_len"] == found["context_length"] == 2048


async def test_a_private_model_is_listed_and_described_to_members_alone(service):
    seen = {}
    for person in ("alice", "bob"):
        headers = service.headers(person)
        async with service.client.get(f"{BASE}/models", headers=headers) as response:
            seen[person] = [entry["id"] for entry in (await response.json())["data"]]
        async with service.client.get(f"{BASE}/models/private/chat", headers=headers) as response:
            assert response.status == (200 if person == "bob" else 404)
    assert seen == {"alice": ["open/chat"], "bob": ["open/chat", "private/chat"]}


async def test_a_member_may_call_what_is_closed_to_others(service):
    path = "/resource_server/closed/vllm/v1/chat/completions"
    status, _, _ = await post(service, BODY, path=path, person="bob")
    assert status == 200
    status, _, _ = await post(service, BODY.replace("open", "private"), person="bob")
    assert status == 200


async def test_a_foreign_domain_is_kept_out_of_a_cluster_that_names_its_own(service):
    path = "/resource_server/domestic/vllm/v1/chat/completions"
    assert (await post(service, BODY, path=path))[0] == 200
    status, error = await error_of(service, BODY, path=path, person="eve")
    assert (status, error["code"]) == (403, "permission_denied")
    assert "example.org" in str(error["message"])


@pytest.mark.row("C-29")
async def test_the_openai_sdk_reads_our_errors(service):
    async with openai.AsyncOpenAI(
        base_url=f"{service.url}{BASE}", api_key=service.tokens["alice"], max_retries=0
    ) as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await client.chat.completions.create(model="absent", messages=[])
        assert refused.value.code == "model_not_found"
        assert refused.value.param == "model"
        assert refused.value.request_id.startswith("req_")
        assert (await client.models.retrieve("open/chat")).id == "open/chat"
        assert [entry.id async for entry in await client.models.list()] == ["open/chat"]
