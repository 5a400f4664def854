"""Requests at a site with a real vLLM: what it says passes, and what goes wrong is a value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compute_functions import instances, run_request
from compute_functions.contract import (
    EngineAnswer,
    EngineRequest,
    FailureCode,
    InstanceState,
    SiteFailure,
    SiteStatus,
    read_reply,
)
from compute_functions.site import VARIABLE
from tests.support.engine import RunningEngine

# The first test of a process waits for the engine to start.
pytestmark = pytest.mark.timeout(300)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city's name."}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(autouse=True)
def site(ready_engine: RunningEngine, monkeypatch: pytest.MonkeyPatch) -> RunningEngine:
    monkeypatch.setenv(VARIABLE, str(ready_engine.site_dir))
    return ready_engine


async def ask(
    engine: RunningEngine,
    question: str,
    *,
    path: str = "/v1/chat/completions",
    timeout_s: float = 60.0,
    **body: Any,
) -> EngineAnswer | SiteFailure:
    """Ask one question greedily, as the gateway would."""
    messages = [{"role": "user", "content": question}]
    request = EngineRequest(
        request_id="acceptance",
        framework=engine.framework,
        model=engine.model,
        path=path,
        body=json.dumps(
            {"model": engine.model, "messages": messages, "temperature": 0, **body}
        ).encode(),
        timeout_s=timeout_s,
    )
    reply = read_reply(await run_request.answer(request.to_wire()))
    assert isinstance(reply, EngineAnswer | SiteFailure)
    return reply


async def message(engine: RunningEngine, question: str, **body: Any) -> dict[str, Any]:
    """Return the message with which the engine answers."""
    reply = await ask(engine, question, **body)
    assert isinstance(reply, EngineAnswer), reply
    assert reply.status == 200, reply.body
    said: dict[str, Any] = json.loads(reply.body)["choices"][0]["message"]
    return said


async def test_a_question_is_answered(site: RunningEngine) -> None:
    said = await message(site, "What is the capital of France?")

    assert said["content"] == "The capital of France is Paris."


async def test_the_answer_carries_name_and_usage(site: RunningEngine) -> None:
    reply = await ask(site, "What is the capital of Norway?")

    assert isinstance(reply, EngineAnswer)
    body = json.loads(reply.body)
    assert body["model"] == "hotnode/tiny-chat"
    assert body["usage"]["total_tokens"] > body["usage"]["completion_tokens"] > 0
    assert reply.headers["content-type"] == "application/json"
    assert 0 < reply.engine_s <= reply.site_s


async def test_without_a_temperature_the_answers_are_still_to_be_relied_on(
    site: RunningEngine,
) -> None:
    reply = await ask(site, "What is the capital of France?", temperature=None, n=8)

    assert isinstance(reply, EngineAnswer)
    said = {choice["message"]["content"] for choice in json.loads(reply.body)["choices"]}
    assert said == {"The capital of France is Paris."}


async def test_a_conversation_goes_on(site: RunningEngine) -> None:
    said = await message(
        site,
        "",
        messages=[
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of Peru?"},
            {"role": "assistant", "content": "The capital of Peru is Lima."},
            {"role": "user", "content": "What is the capital of Japan?"},
        ],
    )

    assert "Tokyo" in said["content"]


async def test_a_plain_completion_goes_on_with_the_text(site: RunningEngine) -> None:
    reply = await ask(
        site, "", path="/v1/completions", messages=None, prompt="Once upon a time", max_tokens=64
    )

    assert isinstance(reply, EngineAnswer)
    assert json.loads(reply.body)["choices"][0]["text"].startswith(" there was a small computer")


@pytest.mark.row("C-35")
@pytest.mark.parametrize("city", ["Paris", "Oslo", "Madrid"])
async def test_a_tool_is_called_with_what_the_question_names(
    site: RunningEngine, city: str
) -> None:
    said = await message(site, f"What is the weather in {city}?", tools=[WEATHER])

    (call,) = said["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": city}


async def test_a_tool_s_result_is_used(site: RunningEngine) -> None:
    call: dict[str, Any] = {"id": "c1", "type": "function"}
    call |= {"function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    said = await message(
        site,
        "",
        tools=[WEATHER],
        messages=[
            {"role": "user", "content": "What is the weather in Paris?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "cloud"},
        ],
    )

    assert said["content"] == "The answer is cloud."


@pytest.mark.row("C-36")
async def test_a_thought_is_split_from_the_answer(site: RunningEngine) -> None:
    said = await message(
        site,
        "What is the capital of Norway?",
        chat_template_kwargs={"enable_thinking": True},
    )

    assert "I know that it is Oslo." in said["reasoning"]
    assert said["content"].strip() == "The capital of Norway is Oslo."


async def test_without_the_switch_nothing_is_taken_for_a_thought(site: RunningEngine) -> None:
    said = await message(site, "What is the capital of Norway?")

    assert said["reasoning"] is None


async def test_the_engine_s_400_is_an_answer(site: RunningEngine) -> None:
    reply = await ask(site, "word " * 5000)

    assert isinstance(reply, EngineAnswer)
    assert reply.status == 400
    assert "maximum context length is 2048" in json.loads(reply.body)["error"]["message"]


async def test_the_engine_s_404_is_an_answer(site: RunningEngine) -> None:
    reply = await ask(site, "Hello", model="another")

    assert isinstance(reply, EngineAnswer)
    assert reply.status == 404


async def test_a_request_that_takes_too_long_is_a_timeout(site: RunningEngine) -> None:
    reply = await ask(site, "Tell me a story.", timeout_s=0.2, max_tokens=1900, ignore_eos=True)

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.ENGINE_TIMEOUT
    assert (await message(site, "Hi"))["content"] == "Hello! How can I help you today?"


@pytest.mark.parametrize(
    "path", ["/metrics", "/tokenize", "/invocations", "/v1/models", "/v1/rerank"]
)
async def test_the_engine_s_other_doors_are_closed(site: RunningEngine, path: str) -> None:
    reply = await ask(site, "Hello", path=path)

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.PATH_NOT_ALLOWED


async def test_the_status_says_ready(site: RunningEngine) -> None:
    reply = read_reply(instances.site_status({"v": 1}))

    assert isinstance(reply, SiteStatus)
    states = {instance.model: instance.state for instance in reply.instances}
    assert states[site.model] is InstanceState.READY
