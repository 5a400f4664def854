"""The openai SDK for Node, on each base URL."""

from __future__ import annotations

import pytest

from tests.support.client_runs import comes_in_pieces

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

OSLO = "The capital of Norway is Oslo."
STORY = " there was a small computer"
CLIENT = "openai-node"


@pytest.mark.row("A-34")
@pytest.mark.row("C-29")
@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("tools", {"name": "get_weather", "arguments": {"city": "Oslo"}}),
        ("stream_of_tools", {"name": "get_weather", "arguments": {"city": "Oslo"}}),
        ("stream_of_responses", {"text": OSLO, "last": "response.completed"}),
        ("stream_with_usage", {"choices": 0, "tokens": 8}),
        ("json_schema", {"city": "Oslo"}),
        ("responses", OSLO),
        ("embeddings", {"length": 384, "same": True}),
        ("one_model", "hotnode/tiny-chat"),
    ],
)
async def test_what_the_sdk_offers_works(runs, base, feature, expected):
    assert await runs.said(CLIENT, base, feature) == expected


async def test_a_question_is_answered(runs, base):
    said = await runs.said(CLIENT, base, "chat")
    assert said["text"] == OSLO
    assert said["usage"] > 0
    assert said["request_id"].startswith("req_")


async def test_a_text_is_completed(runs, base):
    assert (await runs.said(CLIENT, base, "completion")).startswith(STORY)


@pytest.mark.row("A-35", "C-63")
async def test_chats_are_streamed(runs, base):
    said = await runs.said(CLIENT, base, "stream")
    assert said["text"].startswith("Once upon a time" + STORY)
    assert (said["pieces"] > 1) == comes_in_pieces(base)


async def test_completions_are_streamed(runs, base):
    assert (await runs.said(CLIENT, base, "stream_of_completion")).startswith(STORY)


async def test_a_picture_is_seen(runs, base):
    assert "red" in await runs.said(CLIENT, base, "image")


async def test_speech_is_written_down(runs, base):
    assert (await runs.said(CLIENT, base, "transcription")).strip() == "four five eight zero"


async def test_models_are_listed(runs, base):
    assert {"hotnode/tiny-chat", "tiny"} <= set(await runs.said(CLIENT, base, "models"))


@pytest.mark.parametrize(
    ("feature", "kind", "status", "code"),
    [
        ("no_token", "AuthenticationError", 401, "invalid_api_key"),
        ("no_such_model", "NotFoundError", 404, "model_not_found"),
        ("stream_of_no_such_model", "NotFoundError", 404, "model_not_found"),
        ("reserved_field", "BadRequestError", 400, "reserved_field"),
    ],
)
async def test_refusals_are_the_sdk_s_own_errors(runs, base, feature, kind, status, code):
    error = await runs.error(CLIENT, base, feature)
    assert (error["class"], error["status_code"], error["code"]) == (kind, status, code)
    assert error["request_id"].startswith("req_")
