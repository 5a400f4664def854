"""Anthropic's SDK; it adds `/v1/messages` to the address that it is given."""

from __future__ import annotations

from typing import Any

import anthropic
import report
from report import Offer

WEATHER: Any = {
    "name": "get_weather",
    "description": "Return the weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The city's name."}},
        "required": ["city"],
    },
}
QUESTION: Any = [{"role": "user", "content": "What is the capital of Norway?"}]
STORY: Any = [{"role": "user", "content": "Tell me a story."}]


def client(offer: Offer, **credential: str) -> anthropic.Anthropic:
    url = offer["base_url"].removesuffix("/v1")
    return anthropic.Anthropic(
        base_url=url, max_retries=0, **(credential or {"api_key": offer["key"]})
    )


def message_of(offer: Offer, opened: anthropic.Anthropic, **more: Any) -> Any:
    asked = {"model": offer["models"]["chat"], "max_tokens": 40, "messages": QUESTION} | more
    with opened:
        # The SDK has dropped the parameter; engines have not.
        return opened.messages.create(extra_body={"temperature": 0}, **asked)


def message(offer: Offer) -> object:
    answer = message_of(offer, client(offer))
    return {
        "text": answer.content[0].text,
        "stop": answer.stop_reason,
        "tokens": answer.usage.output_tokens,
        "request_id": answer._request_id,  # noqa: SLF001 - documented
    }


def message_with_auth_token(offer: Offer) -> object:
    return message_of(offer, client(offer, auth_token=offer["key"])).content[0].text


def system_prompt(offer: Offer) -> object:
    return message_of(offer, client(offer), system="You are a helpful assistant.").content[0].text


def tools(offer: Offer) -> object:
    question = [{"role": "user", "content": "What is the weather in Oslo?"}]
    answer = message_of(offer, client(offer), tools=[WEATHER], messages=question)
    return [{"name": p.name, "input": p.input} for p in answer.content if p.type == "tool_use"]


def stream(offer: Offer) -> object:
    """Read a message with the SDK's own helper, which puts it together event by event."""
    asked = {"model": offer["models"]["chat"], "max_tokens": 60, "messages": STORY}
    with (
        client(offer) as opened,
        opened.messages.stream(extra_body={"temperature": 0}, **asked) as events,
    ):
        pieces = list(events.text_stream)
        made = events.get_final_message()
    return {
        "pieces": len(pieces),
        "text": "".join(pieces),
        "whole": made.content[0].text,
        "stop": made.stop_reason,
        "tokens": made.usage.output_tokens,
    }


def stream_of_tools(offer: Offer) -> object:
    question = [{"role": "user", "content": "What is the weather in Oslo?"}]
    asked = {"model": offer["models"]["chat"], "max_tokens": 40, "messages": question}
    with (
        client(offer) as opened,
        opened.messages.stream(tools=[WEATHER], extra_body={"temperature": 0}, **asked) as events,
    ):
        made = events.get_final_message()
    called = [{"name": p.name, "input": p.input} for p in made.content if p.type == "tool_use"]
    return {"called": called, "stop": made.stop_reason}


def count_tokens(offer: Offer) -> object:
    with client(offer) as opened:
        return opened.messages.count_tokens(
            model=offer["models"]["chat"], messages=QUESTION
        ).input_tokens


def image(offer: Offer) -> object:
    source = {"type": "url", "url": offer["picture_url"]}
    content = [
        {"type": "image", "source": source},
        {"type": "text", "text": "What colour is this?"},
    ]
    question = [{"role": "user", "content": content}]
    vision = offer["models"]["vision"]
    return message_of(offer, client(offer), model=vision, messages=question).content[0].text


def no_token(offer: Offer) -> object:
    return message_of(offer, client(offer, api_key="DUMMY_KEY"))


def no_such_model(offer: Offer) -> object:
    return message_of(offer, client(offer), model="absent/model")


def models(offer: Offer) -> object:
    with client(offer) as opened:
        return [found.id for found in opened.models.list()]


if __name__ == "__main__":
    report.run(
        message,
        message_with_auth_token,
        system_prompt,
        tools,
        stream,
        stream_of_tools,
        count_tokens,
        image,
        no_token,
        no_such_model,
        models,
    )
