"""The openai SDK for Python, used as its documentation says; every major version runs this."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from typing import Any

import openai
import report
from report import Offer

WEATHER: Any = {
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
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "capital",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def client(offer: Offer, key: str | None = None) -> openai.OpenAI:
    return openai.OpenAI(base_url=offer["base_url"], api_key=key or offer["key"], max_retries=0)


def ask(offer: Offer, content: Any, *, model: str = "chat", **more: Any) -> Any:
    with client(offer, more.pop("key", None)) as opened:
        return opened.chat.completions.create(
            model=offer["models"].get(model, model),
            messages=[{"role": "user", "content": content}],
            temperature=0,
            **more,
        )


def chat(offer: Offer) -> object:
    answer = ask(offer, "What is the capital of Norway?", max_tokens=20)
    return {
        "text": answer.choices[0].message.content,
        "model": answer.model,
        "usage": answer.usage.total_tokens,
        "request_id": answer._request_id,  # noqa: SLF001 - documented
    }


def chat_under_an_alias(offer: Offer) -> object:
    return ask(offer, "What is the capital of Norway?", model="alias").choices[0].message.content


def parameters(offer: Offer) -> object:
    with client(offer) as opened:
        answer = opened.chat.completions.create(
            model=offer["models"]["chat"],
            messages=[
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "What is the capital of Norway?"},
            ],
            temperature=0.0,
            top_p=0.95,
            presence_penalty=0.1,
            max_completion_tokens=20,
            logprobs=True,
            extra_body={"top_k": 5, "chat_template_kwargs": {"enable_thinking": False}},
        )
    choice = answer.choices[0]
    logprobs: Any = choice.logprobs
    return {"text": choice.message.content, "logprobs": len(logprobs.content)}


def reasoning(offer: Offer) -> object:
    on = {"chat_template_kwargs": {"enable_thinking": True}}
    message = ask(offer, "What is the capital of Norway?", extra_body=on).choices[0].message
    return {"text": message.content, "reasoning": message.model_extra["reasoning"]}


def tools(offer: Offer) -> object:
    message = ask(offer, "What is the weather in Oslo?", tools=[WEATHER]).choices[0].message
    (call,) = message.tool_calls
    return {"name": call.function.name, "arguments": json.loads(call.function.arguments)}


def json_schema(offer: Offer) -> object:
    answer = ask(offer, "What is the capital of Norway?", response_format=SCHEMA)
    return json.loads(answer.choices[0].message.content)


def completion(offer: Offer) -> object:
    with client(offer) as opened:
        answer = opened.completions.create(
            model=offer["models"]["chat"], prompt="Once upon a time", max_tokens=32, temperature=0
        )
    return answer.choices[0].text


def responses(offer: Offer) -> object:
    with client(offer) as opened:
        answer = opened.responses.create(
            model=offer["models"]["chat"], input="What is the capital of Norway?", temperature=0
        )
    return answer.output_text


def image_by_data_url(offer: Offer) -> object:
    return _look(offer, offer["picture"])


def image_by_https_url(offer: Offer) -> object:
    return _look(offer, offer["picture_url"])


def image_that_is_not_there(offer: Offer) -> object:
    return _look(offer, offer["picture_url"] + ".absent")


def _look(offer: Offer, url: str) -> object:
    content = [
        {"type": "text", "text": "What colour is this?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    return ask(offer, content, model="vision").choices[0].message.content


def transcription(offer: Offer, **more: Any) -> object:
    with client(offer) as opened, open(offer["sound"], "rb") as file:  # noqa: PTH123 - as users do
        answer = opened.audio.transcriptions.create(
            model=offer["models"]["speech"], file=file, temperature=0, **more
        )
    return answer.text


def transcription_in_german(offer: Offer) -> object:
    return transcription(offer, language="de")


def translation(offer: Offer) -> object:
    with client(offer) as opened, open(offer["sound"], "rb") as file:  # noqa: PTH123 - as users do
        answer = opened.audio.translations.create(model=offer["models"]["speech"], file=file)
    return answer.text


def embeddings(offer: Offer) -> object:
    """Return how floats, base64 and what the SDK itself asks for fit together."""
    with client(offer) as opened:
        make = opened.embeddings.create
        model, text = offer["models"]["embeddings"], "The quick brown fox"
        floats = make(model=model, input=text, encoding_format="float").data[0].embedding
        packed: Any = make(model=model, input=[text], encoding_format="base64").data[0].embedding
        default = make(model=model, input=[text, "Another text"])
    unpacked = struct.unpack(f"<{len(floats)}f", b64decode(packed))
    return {
        "length": len(floats),
        "same": all(abs(a - b) < 1e-4 for a, b in zip(floats, unpacked, strict=True))
        and all(abs(a - b) < 1e-4 for a, b in zip(floats, default.data[0].embedding, strict=True)),
        "texts": len(default.data),
        "usage": default.usage.prompt_tokens,
    }


def embeddings_with_dimensions(offer: Offer) -> object:
    with client(offer) as opened:
        answer = opened.embeddings.create(
            model=offer["models"]["embeddings"], input="A text", dimensions=64
        )
    return len(answer.data[0].embedding)


def embeddings_of_tokens(offer: Offer) -> object:
    with client(offer) as opened:
        return len(
            opened.embeddings.create(model=offer["models"]["embeddings"], input=[[1, 2, 3]]).data
        )


def models(offer: Offer) -> object:
    with client(offer) as opened:
        return [
            {"id": m.id, "object": m.object, **(m.model_extra or {})} for m in opened.models.list()
        ]


def one_model(offer: Offer) -> object:
    with client(offer) as opened:
        found = opened.models.retrieve(offer["models"]["chat"])
    return {"id": found.id, "owned_by": found.owned_by, "created": isinstance(found.created, int)}


def no_token(offer: Offer) -> object:
    return ask(offer, "Hi", key="DUMMY_KEY")


def no_such_model(offer: Offer) -> object:
    return ask(offer, "Hi", model="absent/model")


def private_model(offer: Offer) -> object:
    return ask(offer, "Hi", model="private")


def wrong_route(offer: Offer) -> object:
    return ask(offer, "Hi", model="embeddings")


def reserved_field(offer: Offer) -> object:
    return ask(offer, "Hi", extra_body={"priority": 1})


def too_long(offer: Offer) -> object:
    return ask(offer, "word " * 5000)


def no_such_route(offer: Offer) -> object:
    with client(offer) as opened:
        return opened.moderations.create(input="x")


def too_many(offer: Offer) -> object:
    """Ask as somebody who may ask once a minute, until it is once too often."""
    for _ in range(3):
        ask(offer, "Hi", key=offer["limited_key"], max_tokens=5)
    return None


def headers_of_too_many(offer: Offer) -> object:
    try:
        too_many(offer)
    except openai.RateLimitError as error:
        names = ("retry-after", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests")
        return {name: error.response.headers[name] for name in names}
    return None


if __name__ == "__main__":
    report.run(
        chat,
        chat_under_an_alias,
        parameters,
        reasoning,
        tools,
        json_schema,
        completion,
        responses,
        image_by_data_url,
        image_by_https_url,
        image_that_is_not_there,
        transcription,
        transcription_in_german,
        translation,
        embeddings,
        embeddings_with_dimensions,
        embeddings_of_tokens,
        models,
        one_model,
        no_token,
        no_such_model,
        private_model,
        wrong_route,
        reserved_field,
        too_long,
        no_such_route,
        too_many,
        headers_of_too_many,
    )
