"""What a chat model answers beside chat/completions: responses, messages, tokens.

The engine is a real vLLM; requests go the way that Globus Compute's function takes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from compute_functions.contract import EngineAnswer
from tests.support.engine import RunningEngine
from tests.support.site_requests import answered, said, send

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("at_site")]

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


async def test_a_response_is_given(ready_engine: RunningEngine) -> None:
    answer = await said(ready_engine, "responses", input=QUESTION, temperature=0)

    (message,) = answer["output"]
    assert (answer["object"], answer["status"]) == ("response", "completed")
    assert [part["text"] for part in message["content"]] == [ANSWER]
    assert answer["usage"]["output_tokens"] > 0


async def test_a_response_may_be_a_tool_call(ready_engine: RunningEngine) -> None:
    tool = {"type": "function", "name": "get_weather", "parameters": PARAMETERS}
    answer = await said(
        ready_engine, "responses", input="What is the weather in Oslo?", tools=[tool], temperature=0
    )

    (call,) = answer["output"]
    assert (call["type"], call["name"]) == ("function_call", "get_weather")
    assert json.loads(call["arguments"]) == {"city": "Oslo"}


async def test_nothing_is_kept_of_a_response(ready_engine: RunningEngine) -> None:
    first = await said(ready_engine, "responses", input="Hi", temperature=0, store=True)
    status, answer = await answered(
        ready_engine, "responses", input="Hi", previous_response_id=first["id"]
    )

    assert status == 404
    assert "not found" in answer["error"]["message"]


async def test_a_message_is_answered_as_anthropic_does(ready_engine: RunningEngine) -> None:
    answer = await said(
        ready_engine, "messages", messages=user(QUESTION), max_tokens=32, temperature=0
    )

    assert (answer["type"], answer["role"]) == ("message", "assistant")
    assert answer["content"] == [{"type": "text", "text": ANSWER}]
    assert answer["stop_reason"] == "end_turn"
    assert answer["usage"]["input_tokens"] == 16


async def test_a_message_may_be_a_tool_s_use(ready_engine: RunningEngine) -> None:
    answer = await said(
        ready_engine,
        "messages",
        messages=user("What is the weather in Paris?"),
        tools=[{"name": "get_weather", "input_schema": PARAMETERS}],
        max_tokens=64,
        temperature=0,
    )

    (use,) = answer["content"]
    assert (use["type"], use["name"], use["input"]) == (
        "tool_use",
        "get_weather",
        {"city": "Paris"},
    )
    assert answer["stop_reason"] == "tool_use"


async def test_a_message_s_tokens_are_counted(ready_engine: RunningEngine) -> None:
    answer = await said(ready_engine, "messages/count_tokens", messages=user(QUESTION))

    assert answer["input_tokens"] == 16


@pytest.mark.parametrize("text", ["Hello Paris", "Grüße, 世界!", ""])
async def test_tokens_become_the_text_again(ready_engine: RunningEngine, text: str) -> None:
    tokens = await said(ready_engine, "tokenize", prompt=text)
    again = await said(ready_engine, "detokenize", tokens=tokens["tokens"])

    assert tokens["count"] == len(tokens["tokens"])
    assert again["prompt"] == text


async def test_a_chat_s_tokens_are_those_of_its_template(ready_engine: RunningEngine) -> None:
    tokens = await said(ready_engine, "tokenize", messages=user("Hi"))
    again = await said(ready_engine, "detokenize", tokens=tokens["tokens"])

    assert again["prompt"] == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


LONG = user("word " * 3000)


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("chat/completions", {"messages": user("Hi"), "temperature": -1}, "non-negative"),
        ("chat/completions", {}, "body.messages"),
        ("chat/completions", {"messages": LONG}, "maximum context length is 2048"),
        ("completions", {"prompt": "Hi", "max_tokens": 99_999}, "99999"),
        ("responses", {"input": None}, "body.input"),
        ("responses", {"input": "word " * 3000}, "maximum context length is 2048"),
        ("messages", {"messages": user("Hi")}, "body.max_tokens"),
        ("messages", {"messages": LONG, "max_tokens": 3}, "maximum context length is 2048"),
        ("tokenize", {}, "prompt"),
        ("detokenize", {"tokens": "x"}, "body.tokens"),
    ],
)
async def test_the_engine_s_refusals_keep_status_and_words(
    ready_engine: RunningEngine, route: str, body: dict[str, object], says: str
) -> None:
    status, answer = await answered(ready_engine, route, **body)

    assert status == 400
    assert says in answer["error"]["message"]


async def test_a_picture_for_a_model_without_eyes_is_refused(ready_engine: RunningEngine) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    status, answer = await answered(
        ready_engine, "chat/completions", messages=[{"role": "user", "content": [picture]}]
    )

    assert status == 400
    assert "not a multimodal model" in answer["error"]["message"]


async def test_what_is_no_json_is_refused_by_the_engine(ready_engine: RunningEngine) -> None:
    reply = await send(ready_engine, "chat/completions", b"{")

    assert isinstance(reply, EngineAnswer)
    assert reply.status == 400
    assert "JSON decode error" in reply.body.decode()
