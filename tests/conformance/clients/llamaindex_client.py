"""LlamaIndex with its classes for services that are like OpenAI's."""

from __future__ import annotations

import report
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from report import Offer


def model(offer: Offer, *, is_chat_model: bool, name: str = "chat") -> OpenAILike:
    return OpenAILike(
        model=offer["models"].get(name, name),
        api_base=offer["base_url"],
        api_key=offer["key"],
        is_chat_model=is_chat_model,
        is_function_calling_model=is_chat_model,
        temperature=0,
        max_tokens=32,
        max_retries=0,
    )


def chat(offer: Offer) -> object:
    question = ChatMessage(role="user", content="What is the capital of Norway?")
    return model(offer, is_chat_model=True).chat([question]).message.content


def completion(offer: Offer) -> object:
    return model(offer, is_chat_model=False).complete("Once upon a time").text


def completion_by_chat(offer: Offer) -> object:
    return model(offer, is_chat_model=True).complete("What is the capital of Norway?").text


def stream_chat(offer: Offer) -> object:
    story = ChatMessage(role="user", content="Tell me a story.")
    answers = model(offer, is_chat_model=True).stream_chat([story])
    pieces = [answer.delta for answer in answers if answer.delta]
    return {"pieces": len(pieces), "text": "".join(pieces)}


def stream_complete(offer: Offer) -> object:
    answers = model(offer, is_chat_model=False).stream_complete("Once upon a time")
    return "".join(answer.delta for answer in answers)


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"It rains in {city}."


def called(offered: OpenAILike, answer: ChatResponse) -> object:
    calls = offered.get_tool_calls_from_response(answer)
    return [{"name": call.tool_name, "args": call.tool_kwargs} for call in calls]


def tools(offer: Offer) -> object:
    offered, question = model(offer, is_chat_model=True), "What is the weather in Oslo?"
    weather = FunctionTool.from_defaults(get_weather)
    return called(offered, offered.chat_with_tools([weather], user_msg=question))


def stream_of_tools(offer: Offer) -> object:
    offered, question = model(offer, is_chat_model=True), "What is the weather in Oslo?"
    weather = FunctionTool.from_defaults(get_weather)
    *_, last = offered.stream_chat_with_tools([weather], user_msg=question)
    return called(offered, last)


def embeddings(offer: Offer) -> object:
    made = OpenAILikeEmbedding(
        model_name=offer["models"]["embeddings"],
        api_base=offer["base_url"],
        api_key=offer["key"],
        max_retries=0,
    ).get_text_embedding_batch(["A text", "Another text"])
    return [len(vector) for vector in made]


def no_such_model(offer: Offer) -> object:
    return model(offer, is_chat_model=True, name="absent/model").complete("Hi").text


if __name__ == "__main__":
    report.run(
        chat,
        completion,
        completion_by_chat,
        stream_chat,
        stream_complete,
        tools,
        stream_of_tools,
        embeddings,
        no_such_model,
    )
