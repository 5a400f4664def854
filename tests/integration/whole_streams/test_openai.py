"""The openai SDK makes of a stream the same message that it makes of the answer in one piece."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import openai
import pytest

CALLS = [
    {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
    },
    {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
]
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
LOGPROBS = {"content": [{"token": "Grüße", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}


def chat(*messages: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "refusal": None, **message},
            "logprobs": LOGPROBS if message.get("content") else None,
            "finish_reason": finish,
        }
        for index, message in enumerate(messages)
    ]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": choices,
        "usage": USAGE,
    }


QUESTION: Any = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


@pytest.mark.parametrize(
    "answer",
    [
        chat({"content": "Grüße  🚀\n\n"}),
        chat({"content": "one"}, {"content": "two"}),
        chat({"content": None, "tool_calls": CALLS}, finish="tool_calls"),
        chat({"content": "a", "reasoning_content": "because"}),
        chat({"content": ""}),
        chat({"content": None, "refusal": "no"}, {"content": "b", "refusal": None}),
    ],
)
async def test_a_chat_is_the_same_message(finished, answer):
    finished.answer = answer
    async with finished.openai() as client:
        whole = await client.chat.completions.create(**QUESTION)
        async with client.chat.completions.stream(
            **QUESTION, stream_options={"include_usage": True}
        ) as stream:
            made = await stream.get_final_completion()
    for before, after in zip(whole.choices, made.choices, strict=True):
        assert (after.message.content or "") == (before.message.content or "")
        assert after.finish_reason == before.finish_reason
        assert _calls(after) == _calls(before)
        assert _dumped(after.logprobs) == _dumped(before.logprobs)
        assert after.message.refusal == before.message.refusal
        reasons = "reasoning_content"
        assert getattr(after.message, reasons, None) == getattr(before.message, reasons, None)
    assert made.usage is not None
    assert made.usage.total_tokens == 12
    assert (made.id, made.model, made.created) == (whole.id, whole.model, whole.created)


def _dumped(value: Any) -> Any:
    return None if value is None else value.model_dump()


def _calls(choice: Any) -> list[tuple[str, str, str]]:
    calls = choice.message.tool_calls or []
    return [(call.id, call.function.name, call.function.arguments) for call in calls]


async def test_a_chat_says_what_was_used_only_if_asked(finished):
    finished.answer = chat({"content": "a"})
    async with finished.openai() as client:
        chunks = [c async for c in await client.chat.completions.create(**QUESTION, stream=True)]
        assert all(chunk.choices for chunk in chunks)
        assert all(chunk.usage is None for chunk in chunks)
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [c.choices[0].finish_reason for c in chunks] == [None, None, "stop"]


async def raw(finished: Any, **more: Any) -> tuple[str, str | None, str]:
    """Return the content type, our mark and the body of what a stream's caller gets."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{finished.url}/v1/chat/completions", json={**QUESTION, "stream": True, **more}
        ) as answer,
    ):
        mark = answer.headers.get("x-hotnode-stream")
        return answer.headers["content-type"], mark, await answer.text()


async def test_a_made_stream_is_marked_and_has_the_end_mark(finished):
    finished.answer = chat({"content": "a"})
    kind, mark, body = await raw(finished)
    assert kind.startswith("text/event-stream")
    assert mark == "whole"
    assert body.endswith("data: [DONE]\n\n")


async def test_the_engine_is_asked_for_a_whole_answer(finished):
    finished.answer = chat({"content": "a"})
    body = {**QUESTION, "stream_options": {"include_usage": True}, "seed": 12345678901234567890}
    async with finished.openai() as client:
        async for _ in await client.chat.completions.create(
            stream=True, extra_body=body, **QUESTION
        ):
            pass
    asked = json.loads(finished.asked[0].body)
    assert asked == {**QUESTION, "seed": 12345678901234567890, "stream": False}


async def test_a_completion_is_the_same_text(finished):
    finished.answer = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": "m",
        "choices": [
            {"index": 0, "text": "Grüße", "logprobs": None, "finish_reason": "stop"},
            {"index": 1, "text": " two", "logprobs": None, "finish_reason": "length"},
        ],
        "usage": USAGE,
    }
    asked: Any = {"model": "m", "prompt": "?"}
    async with finished.openai() as client:
        options: Any = {"include_usage": True}
        chunks = [
            chunk
            async for chunk in await client.completions.create(
                **asked, stream=True, stream_options=options
            )
        ]
    *texts, used = chunks
    said = {c.choices[0].index: (c.choices[0].text, c.choices[0].finish_reason) for c in texts}
    assert said == {0: ("Grüße", "stop"), 1: (" two", "length")}
    assert used.usage is not None
    assert (used.choices, used.usage.total_tokens) == ([], 12)


def response(*output: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000.0,
        "status": status,
        "model": "m",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "usage": {
            "input_tokens": 3,
            "output_tokens": 4,
            "total_tokens": 7,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def said(text: str, **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part | more],
    }


THOUGHT = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "in short"}],
    "content": [{"type": "reasoning_text", "text": "because"}],
    "status": "completed",
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city": "Oslo"}',
    "status": "completed",
}
REFUSAL = said("") | {"content": [{"type": "refusal", "refusal": "no"}]}
CITED = said(
    "see",
    annotations=[
        {
            "type": "url_citation",
            "url": "https://example.org",
            "title": "t",
            "start_index": 0,
            "end_index": 3,
        }
    ],
)


@pytest.mark.parametrize(
    "answer",
    [
        response(said("Grüße 🚀")),
        response(THOUGHT, CALL),
        response(THOUGHT, said("so"), CALL | {"id": "fc_2", "call_id": "call_2"}),
        response(REFUSAL),
        response(CITED),
        response(said("cut"), status="incomplete"),
    ],
)
async def test_a_response_is_the_same(finished, answer):
    finished.answer = answer
    asked: Any = {"model": "m", "input": "?"}
    async with finished.openai() as client:
        whole = await client.responses.create(**asked)
        events = [event async for event in await client.responses.create(**asked, stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    last: Any = events[-1]
    assert last.type == f"response.{answer['status']}"
    assert last.response.model_dump() == whole.model_dump()
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == whole.output_text


@pytest.mark.parametrize("answer", [response(said("Grüße")), response(THOUGHT, CALL, said("x"))])
async def test_the_sdk_puts_a_response_together_from_its_events(finished, answer):
    finished.answer = answer
    asked: Any = {"model": "m", "input": "?"}
    async with finished.openai() as client:
        whole = await client.responses.create(**asked)
        async with client.responses.stream(**asked) as stream:
            seen = [event async for event in stream]
            made = await stream.get_final_response()
    assert made.output_text == whole.output_text
    assert [item.type for item in made.output] == [item.type for item in whole.output]
    assert "response.output_item.done" in {event.type for event in seen}


async def test_a_transcription_is_the_same_text_in_the_chunks_of_its_engine(finished):
    """As vLLM's own examples read them: the SDK passes on what is no event of OpenAI's."""
    finished.answer = {"text": "hello there", "usage": {"type": "duration", "seconds": 2}}
    asked: Any = {"model": "m", "file": ("a.wav", b"RIFF")}
    async with finished.openai() as client:
        whole = await client.audio.transcriptions.create(**asked)
        events = [e async for e in await client.audio.transcriptions.create(**asked, stream=True)]
    said: Any = [event.to_dict() for event in events]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in said) == whole.text
    assert {(chunk["object"], chunk["model"]) for chunk in said} == {("transcription.chunk", "m")}
    assert [chunk["choices"][0].get("finish_reason") for chunk in said] == [None, "stop"]


async def test_a_translation_ends_with_its_usage_where_that_is_asked_for(finished):
    finished.answer = {"text": "hello", "usage": {"type": "duration", "seconds": 2}}
    fields = {"model": "m", "stream": "true", "stream_include_usage": "true", "file": "RIFF"}
    body = "".join(
        f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{finished.url}/v1/audio/translations", data=f"{body}--b--\r\n") as response,
    ):
        *chunks, done = (await response.read()).split(b"\n\n")[:-1]
    assert done == b"data: [DONE]"
    said = [json.loads(chunk.removeprefix(b"data: ")) for chunk in chunks]
    assert {chunk["object"] for chunk in said} == {"translation.chunk"}
    assert said[-1]["choices"] == []
    assert said[-1]["usage"] == {"type": "duration", "seconds": 2}
    # vLLM refuses the option of a stream that is none.
    [asked] = finished.asked
    assert b"stream_include_usage" not in asked.body


async def test_an_error_stays_the_error(finished):
    finished.status = 429
    finished.answer = {"error": {"message": "busy", "type": "rate", "code": "busy"}}
    async with finished.openai() as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(**QUESTION, stream=True)
    assert caught.value.code == "busy"
    assert caught.value.response.headers["x-hotnode-stream"] == "whole"
    assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("answer", ["no JSON", "[1, 2]", "{", "null"])
async def test_what_is_no_answer_is_passed_on_as_it_is(finished, answer):
    finished.answer = answer
    kind, mark, body = await raw(finished)
    assert kind.startswith("application/json")
    assert (mark, body) == ("whole", answer)
