"""Reads a request's body, up to a limit, into memory or onto the disk."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from io import BytesIO
from typing import IO

from resource_server.api.exchange import Exchange, Message
from resource_server.domain import errors

#: Bytes of a body that are kept in memory; what is longer goes to the disk.
MEMORY_BYTES = 2_621_440


async def read_body(exchange: Exchange, *, max_bytes: int) -> IO[bytes]:
    """Return the body as an open file at its beginning.

    Raises `PayloadTooLarge` before anything is read if the request declares too much, and while
    reading if it sends too much; `InvalidRequest` for a length that is no number; and what
    `Exchange.receive` raises.
    """
    if _declared_length(exchange) > max_bytes:
        raise _too_large(max_bytes)
    message = await exchange.receive()
    body: bytes = message.get("body", b"")
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if not message.get("more_body", False):
        return BytesIO(body)
    return await _collect(exchange, message, max_bytes=max_bytes)


async def _collect(exchange: Exchange, message: Message, *, max_bytes: int) -> IO[bytes]:
    """Return a body that comes in several parts; nothing stays open if it does not come whole."""
    with ExitStack() as on_failure:
        file = on_failure.enter_context(tempfile.SpooledTemporaryFile(MEMORY_BYTES))
        size = file.write(message.get("body", b""))
        while message.get("more_body", False):
            message = await exchange.receive()
            size += len(message.get("body", b""))
            if size > max_bytes:
                raise _too_large(max_bytes)
            file.write(message.get("body", b""))
        file.seek(0)
        on_failure.pop_all()
        return file


def _declared_length(exchange: Exchange) -> int:
    """Return the header `Content-Length`, or 0 for a body that comes in chunks or not at all."""
    for name, value in exchange.scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise errors.InvalidRequest("The header Content-Length is no number.")
            return int(value)
    return 0


def _too_large(max_bytes: int) -> errors.PayloadTooLarge:
    return errors.PayloadTooLarge(
        f"The request's body is larger than {max_bytes} bytes. Send less at once (shorter prompts, "
        "smaller images, fewer inputs), or split the work into several requests.",
        limit_bytes=max_bytes,
    )
