"""Pictures in a chat at a site, seen by a LLaVA-type model on a real vLLM."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.engine import RunningEngine
from tests.support.pictures import COLOURS, data_url, png
from tests.support.site_requests import answered, said

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("at_site")]

ROUTE = "chat/completions"


def about(*addresses: str, question: str = "What colour is this?") -> list[dict[str, Any]]:
    pictures = [{"type": "image_url", "image_url": {"url": address}} for address in addresses]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": question}]}]


@pytest.mark.row("A-10")
@pytest.mark.row("C-32", "C-37")
@pytest.mark.row("U-16")
@pytest.mark.parametrize("colour", COLOURS)
async def test_a_picture_is_seen(vision_engine: RunningEngine, colour: str) -> None:
    answer = await said(
        vision_engine, ROUTE, messages=about(data_url(png(colour))), max_tokens=16, temperature=0
    )

    assert answer["choices"][0]["message"]["content"] == f"The image is mostly {colour}."


async def test_a_model_that_sees_still_chats(vision_engine: RunningEngine) -> None:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    answer = await said(vision_engine, ROUTE, messages=messages, max_tokens=16, temperature=0)

    assert answer["choices"][0]["message"]["content"] == "The capital of France is Paris."


@pytest.mark.parametrize(
    ("addresses", "says"),
    [
        ([data_url(b"no picture")], "cannot identify image file"),
        (["data:image/png;base64,@@@"], "Non-base64 digit found"),
        ([data_url(png("red"))] * 3, "At most 2 image(s)"),
    ],
)
async def test_what_is_no_picture_is_refused_in_the_engine_s_words(
    vision_engine: RunningEngine, addresses: list[str], says: str
) -> None:
    status, answer = await answered(vision_engine, ROUTE, messages=about(*addresses))

    assert status == 400
    assert says in answer["error"]["message"]


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("http://127.0.0.1:9/picture.png", 400, "allowed domains"),
        ("https://example.org/picture.png", 400, "allowed domains"),
        # vLLM's own status; the gateway lets no such address through.
        ("file:///etc/hostname", 500, "Cannot load local files"),
    ],
)
async def test_the_engine_fetches_nothing(
    vision_engine: RunningEngine, address: str, status: int, says: str
) -> None:
    got, answer = await answered(vision_engine, ROUTE, messages=about(address))

    assert got == status
    assert says in answer["error"]["message"]
