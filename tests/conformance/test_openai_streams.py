"""Streams by the openai SDK for Python, in three major versions, by relay and by task."""

from __future__ import annotations

import pytest

from tests.support.client_runs import STREAMED_AT, comes_in_pieces

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

OSLO = "The capital of Norway is Oslo."


@pytest.fixture(params=["openai-1-streams", "openai-2-streams", "openai-3-streams"])
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=STREAMED_AT)
def base(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.row("A-35", "U-13", "C-63")
async def test_a_stream_is_the_whole_answer_in_pieces(runs, client, base):
    said = await runs.said(client, base, "story")
    assert said["text"] == await runs.said(client, base, "whole_in_the_end")
    assert (said["pieces"] > 10) == comes_in_pieces(base)
    assert (said["role"], said["finish"]) == ("assistant", "length")
    assert (said["models"], said["ids"]) == (["hotnode/tiny-chat"], 1)


@pytest.mark.row("A-35", "U-15")
async def test_nobody_sees_usage_who_did_not_ask_for_it(runs, client, base):
    """`story` reads the first choice of every chunk, as the documents of services do."""
    assert (await runs.said(client, base, "story"))["usage"] == []


@pytest.mark.row("U-15")
async def test_usage_comes_last_where_it_is_asked_for(runs, client, base):
    assert await runs.said(client, base, "usage") == {
        "text": OSLO,
        "choices_of_last": 0,
        "usage": {"prompt_tokens": 16, "completion_tokens": 8},
        "before": [],
    }


async def test_the_async_client_streams(runs, client, base):
    assert await runs.said(client, base, "story_of_async") == OSLO


async def test_log_probabilities_come_with_their_tokens(runs, client, base):
    assert (await runs.said(client, base, "logprobs")).startswith(OSLO)


async def test_several_choices_are_streamed_at_once(runs, client, base):
    assert await runs.said(client, base, "two_choices") == [OSLO, OSLO]


@pytest.mark.row("C-36")
async def test_thoughts_are_streamed_apart(runs, client, base):
    said = await runs.said(client, base, "reasoning")
    assert "Oslo" in said["reasoning"]
    assert said["text"].strip() == OSLO


@pytest.mark.row("C-35")
async def test_calls_of_tools_are_put_together(runs, client, base):
    assert await runs.said(client, base, "tools") == {
        "name": "get_weather",
        "arguments": {"city": "Oslo"},
        "ids": 1,
        "indexes": [0],
        "finish": "tool_calls",
    }


@pytest.mark.row("C-35")
async def test_a_tool_may_be_forced(runs, client, base):
    assert await runs.said(client, base, "tool_that_is_forced") == ["city"]


async def test_a_json_schema_is_kept_to(runs, client, base):
    assert await runs.said(client, base, "json_schema") == {"city": "Oslo"}


async def test_a_text_is_completed(runs, client, base):
    said = await runs.said(client, base, "completion")
    assert said.startswith(" there was a small computer")


async def test_responses_are_streamed(runs, client, base):
    said = await runs.said(client, base, "responses")
    assert (said["first"], said["last"]) == ("response.created", "response.completed")
    assert (said["text"], said["whole"]) == (OSLO, OSLO)
    assert said["tokens"] == 8


async def test_a_picture_is_seen(runs, client, base):
    assert "red" in await runs.said(client, base, "picture")


async def test_speech_is_written_down_word_by_word(runs, client, base):
    said = await runs.said(client, base, "transcription")
    assert said.strip() == "four five eight zero"


async def test_who_leaves_may_ask_again(runs, client, base):
    said = await runs.said(client, base, "leaving")
    assert said == {"chunks": 2, "then": OSLO}


@pytest.mark.row("U-30")
@pytest.mark.parametrize(
    ("feature", "kind", "status"),
    [("no_such_model", "NotFoundError", 404), ("too_long", "BadRequestError", 400)],
)
async def test_what_is_refused_before_a_stream_begins_is_a_status(
    runs, client, base, feature, kind, status
):
    error = await runs.error(client, base, feature)
    assert (error["class"], error["status_code"]) == (kind, status)
    assert error["request_id"].startswith("req_")
