"""The openai SDK for Python, streaming as its documentation says; every major version runs this."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import report
from openai_sdk import SCHEMA, WEATHER, ask, client
from report import Offer

QUESTION = "What is the capital of Norway?"


def chunks_of(offer: Offer, content: Any, *, model: str = "chat", **more: Any) -> list[Any]:
    with client(offer) as opened:
        stream = opened.chat.completions.create(
            model=offer["models"].get(model, model),
            messages=[{"role": "user", "content": content}],
            stream=True,
            **({"temperature": 0} | more),
        )
        return list(stream)


def text_of(chunks: list[Any]) -> str:
    """Return the text as users of every service join it: the first choice of every chunk."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def story(offer: Offer) -> object:
    chunks = chunks_of(offer, "Tell me a story.", max_tokens=60)
    return {
        "text": text_of(chunks),
        "pieces": sum(bool(chunk.choices[0].delta.content) for chunk in chunks),
        "models": sorted({chunk.model for chunk in chunks}),
        "ids": len({chunk.id for chunk in chunks}),
        "role": chunks[0].choices[0].delta.role,
        "finish": chunks[-1].choices[0].finish_reason,
        "usage": [chunk.usage for chunk in chunks if chunk.usage],
    }


def story_of_async(offer: Offer) -> object:
    async def read() -> str:
        async with openai.AsyncOpenAI(base_url=offer["base_url"], api_key=offer["key"]) as opened:
            stream = await opened.chat.completions.create(
                model=offer["models"]["chat"],
                messages=[{"role": "user", "content": QUESTION}],
                temperature=0,
                stream=True,
            )
            return text_of([chunk async for chunk in stream])

    return asyncio.run(read())


def whole_in_the_end(offer: Offer) -> object:
    return ask(offer, "Tell me a story.", max_tokens=60).choices[0].message.content


def usage(offer: Offer) -> object:
    chunks = chunks_of(offer, QUESTION, stream_options={"include_usage": True})
    *others, last = chunks
    return {
        "text": text_of(others),
        "choices_of_last": len(last.choices),
        "usage": last.usage.model_dump(include={"prompt_tokens", "completion_tokens"}),
        "before": [chunk.usage.total_tokens for chunk in others if chunk.usage],
    }


def logprobs(offer: Offer) -> object:
    chunks = chunks_of(offer, QUESTION, logprobs=True)
    found = [chunk.choices[0].logprobs for chunk in chunks]
    return "".join(one.token for some in found if some for one in some.content or [])


def two_choices(offer: Offer) -> object:
    texts = {0: "", 1: ""}
    for chunk in chunks_of(offer, QUESTION, n=2, temperature=0.01):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    return list(texts.values())


def reasoning(offer: Offer) -> object:
    on = {"chat_template_kwargs": {"enable_thinking": True}}
    chunks = chunks_of(offer, QUESTION, extra_body=on)
    extras = [chunk.choices[0].delta.model_extra or {} for chunk in chunks]
    return {
        "text": text_of(chunks),
        "reasoning": "".join(extra.get("reasoning") or "" for extra in extras),
    }


def tools(offer: Offer) -> object:
    chunks = chunks_of(offer, "What is the weather in Oslo?", tools=[WEATHER])
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    return {
        "name": "".join(call.function.name or "" for call in calls),
        "arguments": json.loads("".join(call.function.arguments or "" for call in calls)),
        "ids": len({call.id for call in calls if call.id}),
        "indexes": sorted({call.index for call in calls}),
        "finish": chunks[-1].choices[0].finish_reason,
    }


def tool_that_is_forced(offer: Offer) -> object:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    chunks = chunks_of(offer, QUESTION, tools=[WEATHER], tool_choice=choice, max_tokens=60)
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    return sorted(json.loads("".join(call.function.arguments or "" for call in calls)))


def json_schema(offer: Offer) -> object:
    return json.loads(text_of(chunks_of(offer, QUESTION, response_format=SCHEMA)))


def completion(offer: Offer) -> object:
    with client(offer) as opened:
        stream = opened.completions.create(
            model=offer["models"]["chat"],
            prompt="Once upon a time",
            max_tokens=32,
            temperature=0,
            stream=True,
        )
        return "".join(chunk.choices[0].text for chunk in stream)


def responses(offer: Offer) -> object:
    """Read a response with the SDK's own helper, which holds every event against the last."""
    with (
        client(offer) as opened,
        opened.responses.stream(
            model=offer["models"]["chat"], input=QUESTION, temperature=0
        ) as stream,
    ):
        events = list(stream)
        final = stream.get_final_response()
        used: Any = final.usage
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    return {
        "first": events[0].type,
        "last": events[-1].type,
        "text": "".join(deltas),
        "whole": final.output_text,
        "tokens": used.output_tokens,
    }


def picture(offer: Offer) -> object:
    content = [
        {"type": "text", "text": "What colour is this?"},
        {"type": "image_url", "image_url": {"url": offer["picture"]}},
    ]
    return text_of(chunks_of(offer, content, model="vision"))


def transcription(offer: Offer) -> object:
    """Write speech down: vLLM's events are chunks of choices, whichever way they come."""
    text = ""
    with client(offer) as opened, open(offer["sound"], "rb") as file:  # noqa: PTH123 - as users do
        for event in opened.audio.transcriptions.create(
            model=offer["models"]["speech"], file=file, temperature=0, stream=True
        ):
            said: Any = event.to_dict()
            for choice in said["choices"]:
                text += choice["delta"].get("content") or ""
    return text


def leaving(offer: Offer) -> object:
    """Read two chunks, leave, and ask again on the same connections."""
    with client(offer) as opened:

        def asked(**more: Any) -> Any:
            return opened.chat.completions.create(
                model=offer["models"]["chat"],
                messages=[{"role": "user", "content": QUESTION}],
                temperature=0,
                **more,
            )

        with asked(stream=True, max_tokens=300, extra_body={"ignore_eos": True}) as stream:
            begun = [next(stream), next(stream)]
        return {"chunks": len(begun), "then": asked().choices[0].message.content}


def no_such_model(offer: Offer) -> object:
    return chunks_of(offer, "Hi", model="absent/model")


def too_long(offer: Offer) -> object:
    return chunks_of(offer, "word " * 5000)


if __name__ == "__main__":
    report.run(
        story,
        story_of_async,
        whole_in_the_end,
        usage,
        logprobs,
        two_choices,
        reasoning,
        tools,
        tool_that_is_forced,
        json_schema,
        completion,
        responses,
        picture,
        transcription,
        leaving,
        no_such_model,
        too_long,
    )
