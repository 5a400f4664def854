"""An answer that was asked for as a stream and comes in one piece after all, as errors do."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

from resource_server.domain import errors, event_stream
from resource_server.domain.inference import (
    MOST_ANSWER,
    InferenceAnswer,
    StreamHead,
    answer_too_large,
)
from resource_server.ports import AnswerStream

_JSON = "application/json"


def is_event_stream(head: StreamHead) -> bool:
    """Tell whether events follow, and no error or finished answer."""
    return head.status == HTTPStatus.OK and head.content_type.startswith(event_stream.CONTENT_TYPE)


async def read_whole(answer: AnswerStream, *, within_s: float) -> InferenceAnswer:
    """Return the answer in one piece; raises what iterating raises, and `BackendTimeout`."""
    parts: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(within_s):
            async for part in answer:
                parts.append(part)
                length += len(part)
                if length > MOST_ANSWER:
                    raise answer_too_large(MOST_ANSWER)
    except TimeoutError as error:
        raise errors.BackendTimeout from error
    return _answer(answer, status=answer.head.status, body=b"".join(parts))


def early_failure(answer: AnswerStream, event: bytes) -> InferenceAnswer:
    """Return as an answer what an engine said in its first event: that it failed."""
    said = event_stream.data_of(event)
    return _answer(answer, status=_status_in(said), body=said, content_type=_JSON)


def _answer(
    answer: AnswerStream, *, status: int, body: bytes, content_type: str | None = None
) -> InferenceAnswer:
    head = answer.head
    return InferenceAnswer(
        status=status,
        body=body,
        content_type=content_type or head.content_type,
        transport=head.transport,
        hops=answer.hops,
        headers=head.headers,
        task_id=head.task_id,
    )


def _status_in(said: bytes) -> int:
    """Return the status that an error names as its code, as vLLM's do."""
    try:
        error = json.loads(said)["error"]
        code = error["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return HTTPStatus.INTERNAL_SERVER_ERROR
    is_status = type(code) is int and HTTPStatus.BAD_REQUEST <= code < 600  # noqa: PLR2004 # HTTP has none above
    return code if is_status else HTTPStatus.INTERNAL_SERVER_ERROR
