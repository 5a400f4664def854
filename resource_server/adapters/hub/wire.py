"""The HTTP of both sides: a value and a body in one message, with the version on top."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp import web

from resource_server.adapters.hub import messages

#: From so many bytes on, copying costs more than a second write.
_LARGE = 64 * 1024
CONTENT_TYPE = "application/vnd.hotnode.hub"


class NotOurs(ValueError):
    """The other side speaks another version, or is no part of the gateway."""


def headers(value: bytes, body: bytes) -> dict[str, str]:
    """Return the headers of a message."""
    return {
        "content-type": CONTENT_TYPE,
        "content-length": str(len(value) + len(body)),
        messages.VERSION_HEADER: messages.VERSION,
        messages.LENGTH_HEADER: str(len(value)),
    }


def stream_headers() -> dict[str, str]:
    """Return the headers of an answer that comes in parts."""
    return {"content-type": CONTENT_TYPE, messages.VERSION_HEADER: messages.VERSION}


def content(value: bytes, body: bytes) -> bytes | AsyncIterator[bytes]:
    """Return a message, in parts where it is large: megabytes are not copied to join them."""
    return value + body if len(body) < _LARGE else _parts(value, body)


async def _parts(value: bytes, body: bytes) -> AsyncIterator[bytes]:
    yield value
    yield body


async def read(message: web.BaseRequest | aiohttp.ClientResponse) -> tuple[bytes, bytes]:
    """Return value and body of a message that has arrived, or raise `NotOurs`."""
    require_our_version(message.headers)
    value = await message.content.readexactly(int(message.headers[messages.LENGTH_HEADER]))
    return value, await message.content.read()


def require_our_version(given: Mapping[str, str]) -> None:
    """Raise `NotOurs` unless a message is from the same version as this process."""
    theirs = given.get(messages.VERSION_HEADER, "none")
    if theirs != messages.VERSION:
        raise NotOurs(f"the other side speaks version {theirs}, and this one {messages.VERSION}")
