"""In which words each route streams: how its events look, and how its streams end."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Dialect(StrEnum):
    """Whose words the events of a stream are."""

    #: OpenAI's chunks: data without a name, and `[DONE]` at the end.
    CHUNKS = "chunks"
    #: OpenAI's Responses: named events, the last of which holds the whole response.
    RESPONSES = "responses"
    #: Anthropic's Messages: named events, the last of which is `message_stop`.
    MESSAGES = "messages"


#: The routes that can stream, by their path below `/v1/`.
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "audio/transcriptions": Dialect.CHUNKS,
        "audio/translations": Dialect.CHUNKS,
        "chat/completions": Dialect.CHUNKS,
        "completions": Dialect.CHUNKS,
        "messages": Dialect.MESSAGES,
        "responses": Dialect.RESPONSES,
    }
)
