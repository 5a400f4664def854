"""Sends a Django response to the client, whole or as a stream, and closes what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from resource_server.api.exchange import Exchange, Headers

#: Bytes that the server is given at once at the most: a slow client then slows us down.
PART_BYTES = 65_536
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_END = object()


class EngineResponse(HttpResponse):
    """An engine's answer: the caller gets it as it is, also when it is a page about an error.

    `ours` are the headers that we make of what we know. They need none of Django's checks and
    conversions, which would cost each request 20 us.
    """

    ours: Iterable[tuple[bytes, bytes]] = ()


async def send_answer(exchange: Exchange, response: HttpResponseBase) -> None:
    """Send the response; its stream is closed in any case before this returns or raises."""
    if isinstance(response, StreamingHttpResponse):
        try:
            await _send_stream(exchange, response)
        finally:
            await _close_stream(response)
    elif isinstance(response, HttpResponse):
        await _send_whole(exchange, response)
    else:
        raise TypeError(f"a {type(response).__name__} cannot be sent")


async def _send_whole(exchange: Exchange, response: HttpResponse) -> None:
    """Send a response that is in memory. It holds nothing open, so there is nothing to close."""
    content = response.content
    headers = headers_of(exchange, response)
    if isinstance(response, EngineResponse):
        headers += response.ours
    if response.status_code not in _BODILESS and "Content-Length" not in response.headers:
        headers.append((b"content-length", b"%d" % len(content)))
    await exchange.start(response.status_code, headers)
    await write(exchange, content if _has_body(exchange, response) else b"", more=False)


async def _send_stream(exchange: Exchange, response: StreamingHttpResponse) -> None:
    if isinstance(response, FileResponse):
        response.block_size = PART_BYTES
    await exchange.start(response.status_code, headers_of(exchange, response))
    if _has_body(exchange, response):
        if response.is_async:
            await _write_async_parts(exchange, response)
        else:
            await _write_sync_parts(exchange, response)
    await exchange.write(b"", more=False)


async def _write_async_parts(exchange: Exchange, response: StreamingHttpResponse) -> None:
    async for part in _stream_of(response):
        await write(exchange, response.make_bytes(part), more=True)


async def _write_sync_parts(exchange: Exchange, response: StreamingHttpResponse) -> None:
    """Take the parts of a file or of a plain generator in a thread, one after the other."""
    parts = _stream_of(response)
    while True:
        step = asyncio.ensure_future(asyncio.to_thread(next, parts, _END))
        try:
            part = await asyncio.shield(step)
        except asyncio.CancelledError:
            # A generator cannot be closed while it runs in its thread.
            await asyncio.wait([step])
            raise
        if part is _END:
            return
        await write(exchange, response.make_bytes(part), more=True)


async def _close_stream(response: StreamingHttpResponse) -> None:
    """Close the stream here and now; what may block is closed in a thread."""
    if not response.is_async:
        await asyncio.to_thread(response.close)
        return
    aclose = getattr(_stream_of(response), "aclose", None)
    if aclose is not None:
        await aclose()
    response.close()


def _stream_of(response: StreamingHttpResponse) -> Any:  # noqa: ANN401 - of two kinds
    """Return the response's iterator itself.

    Django's public ways to it wrap it in generators whose end does not close it.
    """
    return vars(response)["_iterator"]


async def write(exchange: Exchange, content: bytes, *, more: bool) -> None:
    """Write a part of a body, piece by piece: a slow client slows us down."""
    size = len(content)
    for start in range(0, size or 1, PART_BYTES):
        end = start + PART_BYTES
        await exchange.write(content[start:end], more=more or end < size)


def _has_body(exchange: Exchange, response: HttpResponseBase) -> bool:
    return exchange.scope["method"] != "HEAD" and response.status_code not in _BODILESS


def headers_of(exchange: Exchange, response: HttpResponseBase) -> Headers:
    """Return the response's headers, with the request's id."""
    response.headers.pop("X-Request-ID", None)
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    headers += [
        (b"Set-Cookie", cookie.output(header="").strip().encode("ascii"))
        for cookie in response.cookies.values()
    ]
    request_id = exchange.request_id.encode("ascii")
    # The second name is that of Anthropic's clients.
    headers += [(b"x-request-id", request_id), (b"request-id", request_id)]
    return headers
