"""LangChain and LlamaIndex, on each base URL."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

OSLO = "The capital of Norway is Oslo."
STORY = " there was a small computer"


@pytest.mark.row("A-36")
@pytest.mark.row("U-31")
async def test_langchain_s_invoke_answers(runs, base):
    said = await runs.said("langchain", base, "invoke")
    assert said["text"] == OSLO
    assert said["tokens"] > 0


async def test_langchain_completes_texts(runs, base):
    assert (await runs.said("langchain", base, "completion")).startswith(STORY)


async def test_langchain_s_bind_tools_calls_them(runs, base):
    said = await runs.said("langchain", base, "bind_tools")
    assert [call["args"] for call in said] == [{"city": "Oslo"}]


async def test_langchain_s_with_structured_output_keeps_to_a_model(runs, base):
    assert await runs.said("langchain", base, "with_structured_output") == {"city": "Oslo"}


async def test_langchain_shows_pictures(runs, base):
    assert "red" in await runs.said("langchain", base, "image")


async def test_langchain_embeds_texts_when_told_to_send_texts(runs, base):
    assert await runs.said("langchain", base, "embeddings_of_texts") == [384, 384]


async def test_langchain_says_what_the_gateway_refused(runs, base):
    error = await runs.error("langchain", base, "no_such_model")
    assert (error["status_code"], error["code"]) == (404, "model_not_found")


@pytest.mark.row("U-32")
async def test_llamaindex_chats(runs, base):
    assert await runs.said("llamaindex", base, "chat") == f"{OSLO}"


@pytest.mark.row("U-32")
async def test_llamaindex_completes_texts_by_either_route(runs, base):
    assert (await runs.said("llamaindex", base, "completion")).startswith(STORY)
    assert await runs.said("llamaindex", base, "completion_by_chat") == OSLO


async def test_llamaindex_embeds_texts(runs, base):
    assert await runs.said("llamaindex", base, "embeddings") == [384, 384]


async def test_llamaindex_says_what_the_gateway_refused(runs, base):
    error = await runs.error("llamaindex", base, "no_such_model")
    assert (error["class"], error["code"]) == ("NotFoundError", "model_not_found")
