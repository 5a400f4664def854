"""The openai SDK for Python, in three major versions, on each base URL."""

from __future__ import annotations

import pytest

# The first test of a process waits for the engines, and for the client to ask everything.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

OSLO = "The capital of Norway is Oslo."


@pytest.fixture(params=["openai-1", "openai-2", "openai-3"])
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.row("A-33", "A-34", "A-37", "L-7", "L-11", "U-1", "U-10", "C-29")
async def test_a_question_is_answered(runs, client, base):
    said = await runs.said(client, base, "chat")
    assert said["text"] == OSLO
    assert said["model"] == "hotnode/tiny-chat"
    assert said["usage"] > 0
    assert said["request_id"].startswith("req_")


@pytest.mark.row("U-6")
async def test_a_short_name_will_do(runs, client, base):
    assert await runs.said(client, base, "chat_under_an_alias") == OSLO


@pytest.mark.row("U-9", "U-25", "U-26", "U-30", "C-31")
async def test_parameters_reach_the_engine_and_log_probabilities_come_back(runs, client, base):
    said = await runs.said(client, base, "parameters")
    assert said["text"] == OSLO
    assert said["logprobs"] > 0


@pytest.mark.row("C-36")
async def test_thoughts_are_kept(runs, client, base):
    said = await runs.said(client, base, "reasoning")
    assert "Oslo" in said["reasoning"]
    assert said["text"].strip() == OSLO


@pytest.mark.row("C-35")
async def test_tools_are_called(runs, client, base):
    said = await runs.said(client, base, "tools")
    assert said == {"name": "get_weather", "arguments": {"city": "Oslo"}}


async def test_a_json_schema_is_kept_to(runs, client, base):
    assert await runs.said(client, base, "json_schema") == {"city": "Oslo"}


@pytest.mark.row("L-8")
async def test_a_text_is_completed(runs, client, base):
    assert (await runs.said(client, base, "completion")).startswith(" there was a small computer")


async def test_responses_work(runs, client, base):
    assert await runs.said(client, base, "responses") == OSLO


@pytest.mark.row("A-10", "U-16", "C-32")
async def test_a_picture_is_seen(runs, client, base):
    assert "red" in await runs.said(client, base, "image_by_data_url")


@pytest.mark.row("U-17")
async def test_a_picture_is_fetched_and_seen(runs, client, base):
    assert "red" in await runs.said(client, base, "image_by_https_url")


async def test_a_picture_that_is_not_there_is_a_bad_request(runs, client, base):
    error = await runs.error(client, base, "image_that_is_not_there")
    assert error["class"] == "BadRequestError"
    assert error["code"] == "invalid_image_url"
    assert error["param"] == "messages[0].content[1].image_url.url"


@pytest.mark.row("U-18", "U-20", "U-21")
async def test_speech_is_written_down(runs, client, base):
    assert (await runs.said(client, base, "transcription")).strip() == "four five eight zero"


@pytest.mark.row("U-19")
async def test_the_language_of_speech_may_be_given(runs, client, base):
    said = await runs.said(client, base, "transcription_in_german")
    assert said.strip() == "vier fünf acht null"


async def test_speech_is_translated_into_english(runs, client, base):
    assert (await runs.said(client, base, "translation")).strip() == "four five eight zero"


@pytest.mark.row("A-9", "A-38", "L-10", "U-23", "C-23", "C-33")
async def test_embeddings_are_the_same_as_floats_and_as_base64(runs, client, base):
    said = await runs.said(client, base, "embeddings")
    assert (said["length"], said["same"], said["texts"]) == (384, True, 2)
    assert said["usage"] > 0


async def test_embeddings_may_be_cut_to_dimensions(runs, client, base):
    assert await runs.said(client, base, "embeddings_with_dimensions") == 64


async def test_embeddings_of_token_numbers_say_what_to_change(runs, client, base):
    error = await runs.error(client, base, "embeddings_of_tokens")
    assert (error["class"], error["param"]) == ("BadRequestError", "input")
    assert "check_embedding_ctx_length=False" in error["text"]


@pytest.mark.row("A-40", "L-9")
async def test_models_are_listed_with_what_clients_read(runs, client, base):
    models = {model["id"]: model for model in await runs.said(client, base, "models")}
    assert {"hotnode/tiny-chat", "tiny", "hotnode/tiny-vision"} <= models.keys()
    assert "private/chat" not in models
    assert models["hotnode/tiny-chat"]["max_model_len"] == 2048
    assert models["hotnode/tiny-vision"]["input_modalities"] == ["text", "image"]
    assert models["tiny"]["root"] == "hotnode/tiny-chat"
    assert {model["object"] for model in models.values()} == {"model"}


async def test_a_model_whose_name_has_a_slash_is_retrieved(runs, client, base):
    said = await runs.said(client, base, "one_model")
    assert said == {"id": "hotnode/tiny-chat", "owned_by": "hotnode", "created": True}


@pytest.mark.row("U-30")
@pytest.mark.parametrize(
    ("feature", "kind", "status", "code", "param"),
    [
        ("no_token", "AuthenticationError", 401, "invalid_api_key", None),
        ("no_such_model", "NotFoundError", 404, "model_not_found", "model"),
        ("private_model", "NotFoundError", 404, "model_not_found", "model"),
        ("wrong_route", "BadRequestError", 400, "route_not_served", "model"),
        ("reserved_field", "BadRequestError", 400, "reserved_field", "priority"),
        ("no_such_route", "NotFoundError", 404, "not_found", None),
        ("too_many", "RateLimitError", 429, "rate_limit_exceeded", None),
    ],
)
async def test_refusals_are_the_sdk_s_own_errors(  # noqa: PLR0913, PLR0917 - a table
    runs, client, base, feature, kind, status, code, param
):
    error = await runs.error(client, base, feature)
    assert (error["class"], error["status_code"]) == (kind, status)
    assert (error.get("code"), error.get("param")) == (code, param)
    assert error["type"]
    assert error["request_id"].startswith("req_")


async def test_the_engine_s_own_refusal_keeps_status_and_text(runs, client, base):
    error = await runs.error(client, base, "too_long")
    assert (error["class"], error["status_code"]) == ("BadRequestError", 400)
    assert "maximum context length is 2048" in error["text"]


@pytest.mark.row("U-28", "A-56", "A-57")
async def test_one_too_many_says_when_to_come_back(runs, client, base):
    said = await runs.said(client, base, "headers_of_too_many")
    assert 0 < int(said["retry-after"]) <= 60
    assert said["x-ratelimit-limit-requests"] == "1"
    assert said["x-ratelimit-remaining-requests"] == "0"
