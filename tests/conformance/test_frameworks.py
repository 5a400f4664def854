"""LangChain and LlamaIndex, on each base URL."""

from __future__ import annotations

import pytest

from tests.support.client_runs import comes_in_pieces

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

OSLO = "The capital of Norway is Oslo."
STORY = " there was a small computer"
WEATHER = [{"name": "get_weather", "args": {"city": "Oslo"}}]


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


@pytest.mark.row("A-35", "U-31", "C-63")
async def test_langchain_streams(runs, base):
    said = await runs.said("langchain", base, "stream")
    assert said["text"].startswith("Once upon a time" + STORY)
    assert (said["pieces"] > 1) == comes_in_pieces(base)


@pytest.mark.row("U-15")
async def test_langchain_counts_what_a_stream_used(runs, base):
    said = await runs.said("langchain", base, "stream_with_usage")
    assert said == {"text": OSLO, "tokens": 8}


@pytest.mark.row("C-35")
async def test_langchain_s_bind_tools_calls_them_in_streams(runs, base):
    assert await runs.said("langchain", base, "stream_of_tools") == WEATHER


async def test_langchain_streams_completions(runs, base):
    assert (await runs.said("langchain", base, "stream_of_completion")).startswith(STORY)


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


@pytest.mark.row("U-32", "C-63")
async def test_llamaindex_streams_chats(runs, base):
    said = await runs.said("llamaindex", base, "stream_chat")
    assert said["text"].startswith("Once upon a time" + STORY)
    assert (said["pieces"] > 1) == comes_in_pieces(base)


async def test_llamaindex_streams_completions(runs, base):
    assert (await runs.said("llamaindex", base, "stream_complete")).startswith(STORY)


@pytest.mark.row("U-32", "C-35")
@pytest.mark.parametrize("feature", ["tools", "stream_of_tools"])
async def test_llamaindex_calls_tools(runs, base, feature):
    assert await runs.said("llamaindex", base, feature) == WEATHER


async def test_llamaindex_embeds_texts(runs, base):
    assert await runs.said("llamaindex", base, "embeddings") == [384, 384]


async def test_llamaindex_says_what_the_gateway_refused(runs, base):
    error = await runs.error("llamaindex", base, "no_such_model")
    assert (error["class"], error["code"]) == ("NotFoundError", "model_not_found")
