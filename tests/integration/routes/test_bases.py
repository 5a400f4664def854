"""The same API below each base URL, and what each URL says of the way to go."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from urllib.parse import quote

import aiohttp
import openai
import pytest
from yarl import URL

from resource_server.api.form_body import FormBody
from resource_server.api.inference import ROUTES
from resource_server.domain.catalog import AccessRule, Catalog, Flag, Project
from resource_server.domain.inference import INFERENCE_ROUTES
from tests.support.catalogs import cluster, members, model

#: Bob is a member (local_globus/seed.yaml).
GROUP = "94090000-0000-4000-8000-000000000003"
CATALOG = Catalog(
    [cluster()],
    [
        replace(model("open/chat"), recommended={"temperature": 0.6}),
        model("private/chat", access=members(GROUP)),
        model(
            "open/embedder",
            "local/infinity",
            routes=("embeddings", "rerank", "classify"),
            aliases={"embedder": {}},
        ),
        model("open/listener", routes=("audio/transcriptions", "audio/translations")),
        replace(
            model(
                "open/thinker",
                routes=("chat/completions", "responses", "messages", "messages/count_tokens"),
                aliases={
                    "quick": {"chat_template_kwargs": {"enable_thinking": False}},
                    "deep": {"chat_template_kwargs": {"enable_thinking": True}},
                },
            ),
            flags=frozenset(Flag),
        ),
    ],
    [
        Project(name="everyone", access=AccessRule(domains=frozenset({"example.org"}))),
        Project(name="OPEN-30-1", models=frozenset({"open/embedder"}), access=members(GROUP)),
    ],
)
CLUSTER = "/resource_server/local/vllm/v1"
FEDERATED = ["/resource_server/v1", "/v1", "/openai/v1"]
PROJECT = "/p/everyone/openai/v1"
BASES = [CLUSTER, *FEDERATED, PROJECT]
CHAT = b'{"model": "open/chat", "messages": []}'


@pytest.fixture
def catalog() -> Catalog:
    """Return a catalog with projects, aliases and models of every kind."""
    return CATALOG


async def ask(service, path, body=CHAT, *, person="alice", **headers):
    sent = service.headers(person) | headers
    async with service.client.post(path, data=body, headers=sent) as response:
        return response.status, response.headers, await response.read()


def test_every_inference_route_has_a_url():
    assert {route.path for route in ROUTES} == INFERENCE_ROUTES


@pytest.mark.row("A-8", "A-33", "A-37", "L-7", "U-1", "U-9")
@pytest.mark.parametrize("base", BASES)
async def test_a_chat_is_served_below_every_base(service, base):
    status, headers, content = await ask(service, f"{base}/chat/completions")
    assert (status, content) == (200, CHAT)
    assert headers["x-hotnode-cluster"] == "local"
    assert service.backend.asked[0].path == "/v1/chat/completions"


@pytest.mark.row("A-40", "L-9", "U-30")
@pytest.mark.parametrize("base", BASES)
async def test_models_are_listed_below_every_base(service, base):
    async with openai.AsyncOpenAI(
        base_url=service.url + base, api_key=service.tokens["alice"]
    ) as client:
        names = [model.id async for model in client.models.list()]
        found = await client.models.retrieve("open/chat")
    assert {"open/chat", "open/thinker", "quick", "deep"} <= set(names)
    assert names == sorted(names)
    assert "private/chat" not in names
    assert found.id == "open/chat"


@pytest.mark.parametrize("name", ["open/chat", quote("open/chat", safe="")])
async def test_a_model_s_id_may_be_quoted(service, name):
    path = f"{service.url}/v1/models/{name}"
    async with service.client.get(
        URL(path, encoded=True), headers=service.headers("alice")
    ) as response:
        assert (response.status, (await response.json())["id"]) == (200, "open/chat")


@pytest.mark.row("L-8", "L-10", "A-38", "U-23", "C-25", "C-33")
@pytest.mark.parametrize("base", BASES)
async def test_embeddings_find_their_framework(service, base):
    body = b'{"model": "open/embedder", "input": "x", "encoding_format": "float"}'
    status, _, content = await ask(service, f"{base}/embeddings", body)
    assert (status, content) == (200, body)
    assert service.backend.asked[0].framework == "infinity"


@pytest.mark.row("U-6", "U-7")
@pytest.mark.parametrize(("name", "thinks"), [("quick", False), ("deep", True)])
async def test_two_names_of_one_model_think_or_do_not(service, name, thinks):
    body = b'{"model": "%s", "messages": [], "temperature": 0.70}' % name.encode()
    await ask(service, "/v1/chat/completions", body)
    [asked] = service.backend.asked
    assert asked.model == "open/thinker"
    assert json.loads(asked.body) == {
        "model": "open/thinker",
        "messages": [],
        "temperature": 0.7,
        "chat_template_kwargs": {"enable_thinking": thinks},
    }
    assert b"0.70" in asked.body


async def test_an_alias_is_described_with_its_root_and_its_parameters(service):
    async with service.client.get("/v1/models/deep", headers=service.headers("alice")) as response:
        found = await response.json()
    assert (found["id"], found["root"]) == ("deep", "open/thinker")
    assert found["default_parameters"] == {"chat_template_kwargs": {"enable_thinking": True}}
    assert "/v1/messages" in found["endpoints"]


@pytest.mark.row("C-38")
@pytest.mark.parametrize("base", BASES)
async def test_a_private_model_is_absent_below_every_base(service, base):
    body = b'{"model": "private/chat", "messages": []}'
    status, _, content = await ask(service, f"{base}/chat/completions", body)
    assert (status, json.loads(content)["error"]["code"]) == (404, "model_not_found")
    async with service.client.get(
        f"{base}/models/private/chat", headers=service.headers("alice")
    ) as response:
        assert response.status == 404
    status, _, _ = await ask(service, f"{base}/chat/completions", body, person="bob")
    assert status == 200


@pytest.mark.row("L-11")
async def test_a_project_is_for_its_members_and_its_models(service):
    base = "/p/OPEN-30-1/openai/v1"
    body = b'{"model": "embedder", "input": "x"}'
    status, _, _ = await ask(service, f"{base}/embeddings", body, person="bob")
    assert status == 200
    status, _, content = await ask(service, f"{base}/chat/completions", person="bob")
    assert (status, json.loads(content)["error"]["code"]) == (404, "model_not_found")
    status, _, content = await ask(service, f"{base}/embeddings", body, person="alice")
    assert (status, json.loads(content)["error"]["code"]) == (404, "project_not_found")
    status, _, absent = await ask(service, "/p/OPEN-0-0/openai/v1/embeddings", body)
    assert json.loads(absent)["error"]["code"] == "project_not_found"


@pytest.mark.parametrize("base", BASES)
async def test_the_wrong_route_names_the_right_ones(service, base):
    status, _, content = await ask(service, f"{base}/embeddings")
    error = json.loads(content)["error"]
    assert (status, error["code"]) == (400, "route_not_served")
    assert "/v1/chat/completions, /v1/completions" in error["message"]


@pytest.mark.parametrize("base", BASES)
async def test_errors_of_messages_have_anthropic_s_shape(service, base):
    for path in ("messages", "messages/count_tokens"):
        status, _, content = await ask(service, f"{base}/{path}", b'{"model": "absent"}')
        said = json.loads(content)
        assert (status, said["type"]) == (404, "error")
        assert said["error"]["type"] == "not_found_error"
        async with service.client.post(f"{base}/{path}", data=b"{}") as response:
            assert (await response.json())["error"]["type"] == "authentication_error"


async def test_anthropic_s_header_for_keys_is_taken(service):
    body = b'{"model": "open/thinker", "messages": [], "max_tokens": 5}'
    key = {"x-api-key": service.tokens["alice"]}
    async with service.client.post("/v1/messages", data=body, headers=key) as response:
        assert (response.status, await response.read()) == (200, body)


def form(sound: bytes | BytesIO, model: str = "open/listener", **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData({"model": model, **fields})
    data.add_field("file", sound, filename="sound.mp3", content_type="audio/mpeg")
    return data


@pytest.mark.row("U-18", "U-19")
@pytest.mark.parametrize("base", BASES)
async def test_a_sound_reaches_the_engine_as_it_was_sent(service, base):
    data = form(b"\x00\xff\r\n" * 100, language="en")
    status, _, content = await ask(service, f"{base}/audio/transcriptions", data)
    [asked] = service.backend.asked
    assert (status, content) == (200, asked.body)
    assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert FormBody(asked.body, asked.headers["content-type"]).value("language") == "en"
    assert b"\x00\xff\r\n" * 100 in asked.body


async def test_an_audio_route_takes_larger_bodies_than_others(service):
    size = 3_000_000
    status, _, _ = await ask(service, "/v1/audio/transcriptions", form(BytesIO(bytes(size))))
    assert status == 200
    body = BytesIO(b'{"model": "open/chat", "messages": "%s"}' % (b"x" * size))
    status, _, content = await ask(service, "/v1/chat/completions", body)
    error = json.loads(content)["error"]
    assert (status, error["code"]) == (413, "payload_too_large")


async def test_json_on_an_audio_route_is_told_what_to_send(service):
    status, _, content = await ask(service, "/v1/audio/transcriptions", b'{"model": "x"}')
    assert (status, "multipart/form-data" in json.loads(content)["error"]["message"]) == (400, True)


async def test_a_cluster_s_models_are_a_bare_list(service):
    url = "/resource_server/local/models"
    async with service.client.get(url, headers=service.headers("alice")) as response:
        found = await response.json()
    places = {(entry["id"], entry["framework"], entry["cluster"]) for entry in found}
    assert ("open/embedder", "infinity", "local") in places
    assert ("open/chat", "vllm", "local") in places
    assert "private/chat" not in {entry["id"] for entry in found}
    async with service.client.get(
        f"{url}?model_id=open/chat", headers=service.headers("alice")
    ) as response:
        assert [entry["id"] for entry in await response.json()] == ["open/chat"]


async def test_everybody_may_ask_which_open_clusters_are_in_service(service):
    async with service.client.get("/resource_server/status") as response:
        assert await response.json() == {"local": True}


@pytest.mark.row("C-34")
@pytest.mark.parametrize(("name", "flags"), [("open/chat", ["T"]), ("deep", ["B", "R", "T"])])
async def test_a_model_s_flags_are_listed(service, name, flags):
    async with service.client.get(f"/v1/models/{name}", headers=service.headers("alice")) as r:
        assert (await r.json())["flags"] == flags


@pytest.mark.row("U-8", "C-37")
async def test_families_of_models_are_served_beside_each_other(service):
    routes = {"open/chat": "chat/completions", "open/thinker": "responses"}
    routes |= {"open/embedder": "embeddings", "open/listener": "audio/transcriptions"}
    for name, route in routes.items():
        plain = b'{"model": "%s", "input": "x"}' % name.encode()
        body = form(b"x", name) if route.startswith("audio") else plain
        status, _, _ = await ask(service, f"/v1/{route}", body)
        assert status == 200
    assert [asked.model for asked in service.backend.asked] == list(routes)


@pytest.mark.row("U-27")
async def test_what_a_model_s_makers_advise_is_shown_and_not_applied(service):
    async with service.client.get("/v1/models/open/chat", headers=service.headers("alice")) as r:
        assert (await r.json())["recommended_parameters"] == {"temperature": 0.6}
    await ask(service, "/v1/chat/completions")
    assert b"temperature" not in service.backend.asked[0].body


@pytest.mark.row("U-24")
async def test_a_vector_of_4096_numbers_arrives(service):
    vector = [n / 4096 for n in range(4096)]
    body = {"model": "open/embedder", "data": [{"index": 0, "embedding": vector}]}
    _, _, content = await ask(service, "/v1/embeddings", json.dumps(body).encode())
    assert json.loads(content)["data"][0]["embedding"] == vector
