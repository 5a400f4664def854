"""Sends a stream whose model is still being started: how it stands, as comments, then its events.

Clients pass comments over, so that for them the stream merely begins late.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack

from django.http.response import HttpResponseBase

from resource_server.api.answer import headers_of
from resource_server.api.event_stream import ENGINE_ERROR, last_words, say_farewell, send_opened
from resource_server.api.exchange import Exchange, Headers
from resource_server.api.keep_alive import KEEP_ALIVE_S, KeptAlive
from resource_server.domain import errors, event_stream
from resource_server.domain.prospect import Prospect
from resource_server.services.completion import Completion
from resource_server.services.open_completion import OpenCompletion
from resource_server.services.pending_completion import PendingCompletion

#: What may stand in a comment: no ends of lines, and no spaces, which part its words.
_UNFIT = re.compile(r"[^!-~]+")


class WaitingStreamResponse(HttpResponseBase):
    """The head of such a stream.

    `note_open` is called with the answer when that has begun, and returns who is told of its first
    event; `note_end` when nothing more will come.
    """

    streaming = True

    def __init__(
        self,
        pending: PendingCompletion,
        *,
        note_open: Callable[[OpenCompletion | Completion], Callable[[], None]],
        note_end: Callable[[OpenCompletion | None], None],
    ) -> None:
        super().__init__(status=200, content_type=event_stream.CONTENT_TYPE)
        self.headers["Cache-Control"] = "no-cache"
        self.headers["X-Accel-Buffering"] = "no"
        #: As those of an `EngineResponse`.
        self.ours: Headers = []
        self.pending = pending
        self.note_open = note_open
        self.note_end = note_end


async def send_waiting(
    exchange: Exchange, response: WaitingStreamResponse, *, keep_alive_s: float = KEEP_ALIVE_S
) -> None:
    """Send the stream to its end; whatever happens, its place and its engine are given back."""
    opened: list[OpenCompletion] = []
    try:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(response.pending.aclose)
            await exchange.start(
                response.status_code, headers_of(exchange, response) + response.ours
            )
            async with KeptAlive(exchange, every_s=keep_alive_s) as client:
                await _send(exchange, response, client, opened=opened, stack=stack)
            await exchange.write(b"", more=False)
    finally:
        response.note_end(opened[0] if opened else None)


async def _send(
    exchange: Exchange,
    response: WaitingStreamResponse,
    client: KeptAlive,
    *,
    opened: list[OpenCompletion],
    stack: AsyncExitStack,
) -> None:
    async def tell(prospect: Prospect) -> None:
        await client.write(comment(prospect))

    pending = response.pending
    try:
        answer = await pending.opened(tell)
        note_first = response.note_open(answer)
        if isinstance(answer, Completion):
            await client.write(pending.refusal(answer.answer))
            exchange.log_fields["error_code"] = ENGINE_ERROR
            return
    except errors.HotnodeError as error:
        await client.write(last_words(exchange, error, pending.dialect, number=0))
        return
    except asyncio.CancelledError:
        await say_farewell(exchange, client, pending.dialect, number=0)
        raise
    opened.append(answer)
    stack.push_async_callback(answer.aclose)
    await send_opened(exchange, answer, client, note_first=note_first)


def comment(prospect: Prospect) -> bytes:
    """Return how a model stands as a comment: words as `state=queued`, which a person can read."""
    words = (f"{name}={_UNFIT.sub('_', str(value))}" for name, value in prospect.facts().items())
    return f": {' '.join(words)}\n\n".encode("ascii")
