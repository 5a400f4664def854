"""LangChain with langchain-openai, as its documentation says."""

from __future__ import annotations

from typing import Any

import report
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field
from report import Offer


class GetWeather(BaseModel):
    """Return the weather of a city."""

    city: str = Field(description="The city's name.")


class Capital(BaseModel):
    """The capital of a country."""

    city: str = Field(pattern="Oslo")


def model(offer: Offer, name: str = "chat") -> ChatOpenAI:
    return ChatOpenAI(
        base_url=offer["base_url"],
        api_key=offer["key"],
        model=offer["models"][name],
        temperature=0,
        max_tokens=40,
        max_retries=0,
    )


def invoke(offer: Offer) -> object:
    answer = model(offer).invoke("What is the capital of Norway?")
    return {"text": answer.content, "tokens": answer.usage_metadata["total_tokens"]}


def completing(offer: Offer) -> OpenAI:
    return OpenAI(
        base_url=offer["base_url"],
        api_key=offer["key"],
        model=offer["models"]["chat"],
        temperature=0,
        max_tokens=32,
    )


def completion(offer: Offer) -> object:
    return completing(offer).invoke("Once upon a time")


def bind_tools(offer: Offer) -> object:
    answer = model(offer).bind_tools([GetWeather]).invoke("What is the weather in Oslo?")
    return [{"name": call["name"], "args": call["args"]} for call in answer.tool_calls]


def stream(offer: Offer) -> object:
    pieces = [chunk.content for chunk in model(offer).stream("Tell me a story.") if chunk.content]
    return {"pieces": len(pieces), "text": "".join(pieces)}


def stream_with_usage(offer: Offer) -> object:
    """Add the chunks up, as LangChain's documentation does."""
    whole: Any = None
    for chunk in model(offer).stream("What is the capital of Norway?", stream_usage=True):
        whole = chunk if whole is None else whole + chunk
    return {"text": whole.content, "tokens": whole.usage_metadata["output_tokens"]}


def stream_of_tools(offer: Offer) -> object:
    whole: Any = None
    asked = model(offer).bind_tools([GetWeather])
    for chunk in asked.stream("What is the weather in Oslo?"):
        whole = chunk if whole is None else whole + chunk
    return [{"name": call["name"], "args": call["args"]} for call in whole.tool_calls]


def stream_of_completion(offer: Offer) -> object:
    return "".join(completing(offer).stream("Once upon a time"))


def with_structured_output(offer: Offer) -> object:
    question = "What is the capital of Norway?"
    return model(offer).with_structured_output(Capital).invoke(question).model_dump()


def image(offer: Offer) -> object:
    content = [
        {"type": "text", "text": "What colour is this?"},
        {"type": "image_url", "image_url": {"url": offer["picture"]}},
    ]
    return model(offer, "vision").invoke([{"role": "user", "content": content}]).content


def embeddings(offer: Offer, **how: bool) -> object:
    made = OpenAIEmbeddings(
        base_url=offer["base_url"],
        api_key=offer["key"],
        model=offer["models"]["embeddings"],
        max_retries=0,
        **how,
    ).embed_documents(["A text", "Another text"])
    return [len(vector) for vector in made]


def embeddings_of_texts(offer: Offer) -> object:
    return embeddings(offer, check_embedding_ctx_length=False)


def no_such_model(offer: Offer) -> object:
    return model(offer | {"models": {"chat": "absent/model"}}).invoke("Hi").content


if __name__ == "__main__":
    report.run(
        invoke,
        completion,
        bind_tools,
        stream,
        stream_with_usage,
        stream_of_tools,
        stream_of_completion,
        with_structured_output,
        image,
        embeddings_of_texts,
        no_such_model,
    )
