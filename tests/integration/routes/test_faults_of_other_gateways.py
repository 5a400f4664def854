"""What must hold because it did not hold in other gateways of this kind.

Each test is named after what must hold. What other modules already show is not repeated here:
bodies byte for byte, engines' errors as they are, aliases, limits and their accounting.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from resource_server.domain.catalog import Catalog
from resource_server.domain.inference import InferenceAnswer
from tests.support.catalogs import cluster, model
from tests.support.doubles import BackendThatEchoes

ROUTES = (
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "messages",
    "rerank",
    "score",
    "classify",
    "tokenize",
    "detokenize",
)
#: Longer than the five minutes after which HTTP clients give up by default (seconds).
PATIENCE_S = 3000.0
#: What an engine adds to an answer, some of it unknown to OpenAI.
ANSWER = (
    b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"4",'
    b'"reasoning":"2+2","reasoning_content":"2+2"},"logprobs":{"content":[{"token":"4",'
    b'"logprob":-0.10}]},"stop_reason":null}],"usage":{"prompt_tokens":3,"total_tokens":4,'
    b'"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2},'
    b'"completion_tokens_details":{"reasoning_tokens":1}},"kv_transfer_params":null}'
)


class BackendThatAnswers(BackendThatEchoes):
    """Answers every request with the same bytes."""

    async def infer(self, *args, **kwargs) -> InferenceAnswer:
        return replace(await super().infer(*args, **kwargs), body=ANSWER)


@pytest.fixture
def catalog() -> Catalog:
    """Return models with and without a namespace, at a cluster that takes its time."""
    patient = replace(cluster(), request_timeout_s=PATIENCE_S)
    return Catalog([patient], [model("plain", routes=ROUTES), model("a/b", routes=ROUTES)])


@pytest.fixture
def backend() -> BackendThatAnswers:
    """Return an engine with much to say."""
    return BackendThatAnswers()


async def post(service, path, **fields):
    body = json.dumps(fields).encode()
    headers = service.headers("alice")
    async with service.client.post(path, data=body, headers=headers) as response:
        return response.status, dict(response.headers), await response.read()


async def test_no_default_timeout_of_a_client_shortens_a_cluster_s_own(service):
    await post(service, "/v1/chat/completions", model="plain")
    [asked] = service.backend.asked
    assert PATIENCE_S - 60 < asked.timeout_s <= PATIENCE_S


async def test_nothing_is_added_to_a_request_that_says_little(service):
    await post(service, "/v1/chat/completions", model="plain", messages=[])
    [asked] = service.backend.asked
    assert json.loads(asked.body) == {"model": "plain", "messages": []}


async def test_log_probabilities_reasoning_and_details_of_usage_are_kept(service):
    status, headers, body = await post(service, "/v1/chat/completions", model="plain")
    assert (status, body) == (200, ANSWER)
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("route", ROUTES)
async def test_every_route_reaches_the_engine_below_its_own_path(service, route):
    await post(service, f"/openai/v1/{route}", model="plain")
    assert [asked.path for asked in service.backend.asked] == [f"/v1/{route}"]


@pytest.mark.parametrize("name", ["plain", "a/b", "a%2Fb"])
async def test_names_of_models_work_with_and_without_a_namespace(service, name):
    async with service.client.get(
        f"/v1/models/{name}", headers=service.headers("alice")
    ) as response:
        assert response.status == 200
        assert (await response.json())["id"] == name.replace("%2F", "/")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/absent", 404),
        ("POST", "/absent", 404),
        ("POST", "/openai/v1/absent", 404),
        ("GET", "/p/absent/openai/v1/models", 404),
        ("POST", "/v1/embeddings", 400),
        ("POST", "/v1/audio/transcriptions", 400),
    ],
)
async def test_every_refusal_is_one_envelope_and_no_detail(service, method, path, status):
    async with service.client.request(method, path, headers=service.headers("alice")) as response:
        assert response.status == status
        body = await response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer DUMMY_KEY"])
async def test_a_token_that_is_no_good_is_never_answered_with_a_status_of_200(service, header):
    for path in ("/v1/models", "/v1/models/plain"):
        async with service.client.get(path, headers={"Authorization": header}) as response:
            assert response.status == 401
            assert "error" in await response.json()
