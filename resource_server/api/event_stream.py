"""Sends an answer that comes piece by piece, as server-sent events, and says how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from django.http.response import HttpResponseBase

from resource_server.api import refusals
from resource_server.api.answer import headers_of
from resource_server.api.exchange import Exchange, Headers
from resource_server.api.keep_alive import KEEP_ALIVE, KEEP_ALIVE_S, KeptAlive
from resource_server.api.stream_errors import error_event
from resource_server.domain import errors
from resource_server.domain.dialects import Dialect
from resource_server.services.open_completion import OpenCompletion

#: What the log says of a stream whose engine said itself that it failed.
ENGINE_ERROR = "engine_error"
#: Seconds for which a server that stops waits for a client to read that it does.
FAREWELL_S = 1.0


class EventStreamResponse(HttpResponseBase):
    """The head of a stream, and where its events come from.

    `note_first` is called when the first event comes, and `note_end` when nothing more will.
    """

    streaming = True

    def __init__(
        self,
        completion: OpenCompletion,
        *,
        note_first: Callable[[], None],
        note_end: Callable[[], None],
    ) -> None:
        super().__init__(status=completion.head.status, content_type=completion.head.content_type)
        # Proxies that collect answers would hold the events back.
        self.headers["Cache-Control"] = "no-cache"
        self.headers["X-Accel-Buffering"] = "no"
        #: As those of an `EngineResponse`.
        self.ours: Headers = []
        self.completion = completion
        self.note_first = note_first
        self.note_end = note_end


async def send_events(
    exchange: Exchange, response: EventStreamResponse, *, keep_alive_s: float = KEEP_ALIVE_S
) -> None:
    """Send the stream to its end; whatever happens, its engine is stopped and its cost counted."""
    try:
        await exchange.start(response.status_code, headers_of(exchange, response) + response.ours)
        async with KeptAlive(exchange, every_s=keep_alive_s) as client:
            await send_opened(exchange, response.completion, client, note_first=response.note_first)
        await exchange.write(b"", more=False)
    finally:
        try:
            await response.completion.aclose()
        finally:
            response.note_end()


async def send_opened(
    exchange: Exchange,
    completion: OpenCompletion,
    client: KeptAlive,
    *,
    note_first: Callable[[], None],
) -> None:
    """Write the events of a stream, and how it ended if it did not end well."""
    try:
        if not completion.begun:
            await client.write(KEEP_ALIVE)
        first = await completion.first()
        note_first()
        await client.write(first)
        async for events in completion.rest:
            await client.write(events)
    except errors.HotnodeError as error:
        number = completion.events_seen
        await client.write(last_words(exchange, error, completion.dialect, number=number))
    except asyncio.CancelledError:
        await say_farewell(exchange, client, completion.dialect, number=completion.events_seen)
        raise
    if completion.failed_at_the_engine:
        exchange.log_fields["error_code"] = ENGINE_ERROR


async def say_farewell(
    exchange: Exchange, client: KeptAlive, dialect: Dialect, *, number: int
) -> None:
    """Tell a client that still waits that the server stops, and not the engine."""
    if exchange.client_gone:
        return
    words = last_words(exchange, refusals.ServerStopping(), dialect, number=number)
    with suppress(TimeoutError):  # the client does not read, and the server does not wait
        async with asyncio.timeout(FAREWELL_S):
            await client.write(words)
            await exchange.write(b"", more=False)


def last_words(
    exchange: Exchange, error: errors.HotnodeError, dialect: Dialect, *, number: int
) -> bytes:
    """Return an error as the stream's last event, after `number` others; the log says it, too."""
    exchange.log_fields |= refusals.log_fields(error)
    return error_event(error, dialect, path=exchange.scope["path"], number=number)
