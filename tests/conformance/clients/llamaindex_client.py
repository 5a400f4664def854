"""LlamaIndex with its classes for services that are like OpenAI's."""

from __future__ import annotations

import report
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from report import Offer


def model(offer: Offer, *, is_chat_model: bool, name: str = "chat") -> OpenAILike:
    return OpenAILike(
        model=offer["models"].get(name, name),
        api_base=offer["base_url"],
        api_key=offer["key"],
        is_chat_model=is_chat_model,
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
    report.run(chat, completion, completion_by_chat, embeddings, no_such_model)
