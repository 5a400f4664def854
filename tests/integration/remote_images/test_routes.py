"""A gateway that fetches images: what its engine gets, and what its callers are told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import openai
import pytest

from resource_server.domain.catalog import Catalog, Modality
from tests.support.catalogs import cluster, model
from tests.support.doubles import BackendThatEchoes
from tests.support.gateway import served_gateway
from tests.support.image_bodies import chat
from tests.support.local_globus import LocalGlobus

CATALOG = Catalog(
    [cluster()],
    [
        replace(model("m"), modalities=frozenset({Modality.IMAGE})),
        model("text-only"),
    ],
)


@pytest.fixture
async def gateway(images) -> AsyncIterator[tuple[str, str, BackendThatEchoes]]:
    """Yield a gateway's base URL, a token, and its backend."""
    backend = BackendThatEchoes()
    async with (
        LocalGlobus() as globus,
        served_gateway(globus, CATALOG, backend=backend, images=images) as url,
    ):
        yield f"{url}/v1", await globus.token("alice@example.org"), backend


async def test_images_are_fetched_for_models_that_see_and_for_no_others(gateway, host):
    base, token, backend = gateway
    body = chat(host.url("/a.png")).content
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as client:
        for content in (body, body.replace(b'"m"', b'"text-only"')):
            async with client.post(f"{base}/chat/completions", data=content) as response:
                assert response.status == 200
    seen, unseen = (json.loads(request.body) for request in backend.asked)
    assert seen["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/png;")
    assert unseen["messages"][0]["content"][1]["image_url"]["url"] == host.url("/a.png")
    assert host.paths_asked() == ["/a.png"]


async def test_the_sdk_says_which_image_could_not_be_had_and_why(gateway, host):
    base, token, backend = gateway
    async with openai.AsyncOpenAI(base_url=base, api_key=token) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                model="m", messages=json.loads(chat(host.url("/absent.png")).content)["messages"]
            )
    assert refused.value.code == "invalid_image_url"
    assert refused.value.param == "messages[0].content[1].image_url.url"
    assert "HTTP 404" in refused.value.message
    assert backend.asked == []
