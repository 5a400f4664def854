"""A finished answer, given out as the stream that was asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import msgspec

from resource_server.adapters.whole_streams.asking import wants_usage
from resource_server.adapters.whole_streams.chat import chat_events
from resource_server.adapters.whole_streams.completions import completion_events
from resource_server.adapters.whole_streams.events import EVENTS, Json
from resource_server.adapters.whole_streams.messages import message_events
from resource_server.adapters.whole_streams.responses import response_events
from resource_server.adapters.whole_streams.transcriptions import (
    speech_answer,
    transcription_events,
)
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest, StreamHead

#: Tells the caller that nothing came before all was there.
MARK: Final[Mapping[str, str]] = {"x-hotnode-stream": "whole"}
_OK = 200
_JSON = "application/json"

_Events: TypeAlias = Callable[..., Iterator[bytes]]
_BY_PATH: Final[Mapping[str, _Events]] = {
    "/v1/chat/completions": chat_events,
    "/v1/completions": completion_events,
    "/v1/responses": response_events,
    "/v1/messages": message_events,
    "/v1/audio/transcriptions": transcription_events,
    "/v1/audio/translations": transcription_events,
}
#: What is done to sound on these routes, as chunks call it.
_SPEECH: Final[Mapping[str, str]] = {
    "/v1/audio/transcriptions": "transcription",
    "/v1/audio/translations": "translation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeStream:
    """A `ports.AnswerStream` of an answer that is there already.

    An error stays the error that it was, and so does what cannot be said in events.
    """

    head: StreamHead
    hops: Hops
    body: bytes

    @classmethod
    def of(cls, answer: InferenceAnswer, request: InferenceRequest) -> Self:
        """Return the answer as the stream for which the request asked."""
        body, kind = answer.body, answer.content_type
        if answer.status == _OK and not kind.startswith("text/event-stream"):
            events = _events(answer, request)
            if events is not None:
                body, kind = events, EVENTS
        head = StreamHead(
            status=answer.status,
            content_type=kind,
            transport=answer.transport,
            headers={**answer.headers, **MARK},
            task_id=answer.task_id,
        )
        return cls(head=head, hops=answer.hops, body=body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        yield self.body

    async def aclose(self) -> None:
        """Nothing is open."""


def _events(answer: InferenceAnswer, request: InferenceRequest) -> bytes | None:
    events = _BY_PATH.get(request.path)
    said = _said(answer, request)
    if events is None or said is None:
        return None
    if task := _SPEECH.get(request.path):
        said = speech_answer(said, request_id=request.request_id, model=request.model, task=task)
    return b"".join(events(said, usage=wants_usage(request)))


def _said(answer: InferenceAnswer, request: InferenceRequest) -> Json | None:
    """Return the answer as an object; a transcription may also be plain text."""
    if answer.content_type.startswith("text/") and request.path in _SPEECH:
        return {"text": answer.body.decode("utf-8", "replace")}
    if not answer.content_type.startswith(_JSON):
        return None
    try:
        said = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What an engine says is passed on, whatever it is.
        return None
    return said if isinstance(said, dict) else None
