"""Anthropic's SDK, on each base URL."""

from __future__ import annotations

import pytest

from tests.support.client_runs import comes_in_pieces

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

OSLO = "The capital of Norway is Oslo."
STORY = "Once upon a time there was a small computer"
CLIENT = "anthropic"


async def test_a_message_is_answered(runs, base):
    said = await runs.said(CLIENT, base, "message")
    assert (said["text"], said["stop"]) == (OSLO, "end_turn")
    assert said["tokens"] > 0


async def test_the_token_may_come_in_either_header(runs, base):
    assert await runs.said(CLIENT, base, "message_with_auth_token") == OSLO


async def test_a_system_prompt_is_taken(runs, base):
    assert await runs.said(CLIENT, base, "system_prompt") == OSLO


async def test_tools_are_called(runs, base):
    said = await runs.said(CLIENT, base, "tools")
    assert said == [{"name": "get_weather", "input": {"city": "Oslo"}}]


@pytest.mark.row("C-63")
async def test_a_message_is_streamed(runs, base):
    said = await runs.said(CLIENT, base, "stream")
    assert said["text"].startswith(STORY)
    assert said["text"] == said["whole"]
    assert (said["stop"], said["tokens"]) == ("max_tokens", 60)
    assert (said["pieces"] > 1) == comes_in_pieces(base)


async def test_tools_are_called_in_streams(runs, base):
    assert await runs.said(CLIENT, base, "stream_of_tools") == {
        "called": [{"name": "get_weather", "input": {"city": "Oslo"}}],
        "stop": "tool_use",
    }


async def test_tokens_are_counted(runs, base):
    assert await runs.said(CLIENT, base, "count_tokens") > 5


async def test_a_picture_is_fetched_and_seen(runs, base):
    assert "red" in await runs.said(CLIENT, base, "image")


async def test_models_are_listed(runs, base):
    assert "hotnode/tiny-chat" in await runs.said(CLIENT, base, "models")


@pytest.mark.parametrize(
    ("feature", "kind", "status"),
    [("no_token", "AuthenticationError", 401), ("no_such_model", "NotFoundError", 404)],
)
async def test_refusals_are_the_sdk_s_own_errors(runs, base, feature, kind, status):
    error = await runs.error(CLIENT, base, feature)
    assert (error["class"], error["status_code"]) == (kind, status)
