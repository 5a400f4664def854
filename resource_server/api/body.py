"""Reads requests' bodies, up to a limit each and together, into memory or onto the disk."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import IO, Self

from resource_server.api import refusals
from resource_server.api.exchange import Exchange, Message
from resource_server.domain import errors

#: Bytes of a body that are kept in memory; what is longer goes to the disk.
MEMORY_BYTES = 2_621_440
#: Seconds within which a body must be here, once its first part is.
BODY_TIMEOUT_S = 120.0
#: Bytes of bodies that one process holds at the same time.
ALL_BODIES_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """The paths, by their ends, whose bodies hold a file, and how many bytes those may have."""

    paths: tuple[str, ...] = ()
    max_bytes: int = 0


class Bodies:
    """Reads the bodies of a process's requests, so that anonymous senders cannot fill it.

    A body has at most `max_bytes`, or what `uploads` may have, and has to be here within
    `timeout_s` of its first part. Those that are held at the same time have at most `all_bytes`
    together; only what has arrived is counted, because declaring a length costs a sender nothing.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        uploads: Uploads = Uploads(),
        timeout_s: float = BODY_TIMEOUT_S,
        all_bytes: int = ALL_BODIES_BYTES,
    ) -> None:
        self._max_bytes = max_bytes
        self._uploads = uploads
        self._timeout_s = timeout_s
        self._room = _Room(all_bytes)

    @asynccontextmanager
    async def read(self, exchange: Exchange) -> AsyncIterator[IO[bytes]]:
        """Yield the body as an open file at its beginning; it counts until the block's end.

        Raises `PayloadTooLarge` or `TooManyBodies` before anything is read if the request declares
        too much, and while reading if it sends too much; `BodyTooSlow`; `InvalidRequest` for a
        length that is no number; and what `Exchange.receive` raises.
        """
        with _Share(self._room, self._limit(exchange.scope["path"])) as share:
            share.check(_declared_length(exchange))
            with closing(await self._read(exchange, share)) as body:
                yield body

    def _limit(self, path: str) -> int:
        is_upload = path.endswith(self._uploads.paths)
        return self._uploads.max_bytes if is_upload else self._max_bytes

    async def _read(self, exchange: Exchange, share: _Share) -> IO[bytes]:
        message = await exchange.receive()
        part = share.take(message)
        if not message.get("more_body", False):
            return BytesIO(part)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await _collect(exchange, part, share)
        except TimeoutError:
            raise refusals.BodyTooSlow from None


@dataclass(slots=True)
class _Room:
    """How many bytes of bodies the process still takes."""

    free_bytes: int


class _Share:
    """What one body takes of the room; given back at the block's end."""

    def __init__(self, room: _Room, max_bytes: int) -> None:
        self._room = room
        self._max_bytes = max_bytes
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._room.free_bytes += self._taken

    def check(self, more: int) -> None:
        """Raise `PayloadTooLarge` or `TooManyBodies` if so many bytes more are too many."""
        if self._taken + more > self._max_bytes:
            raise _too_large(self._max_bytes)
        if more > self._room.free_bytes:
            raise refusals.TooManyBodies

    def take(self, message: Message) -> bytes:
        """Return the part of a body in a message, and count it."""
        part: bytes = message.get("body", b"")
        self.check(len(part))
        self._taken += len(part)
        self._room.free_bytes -= len(part)
        return part


async def _collect(exchange: Exchange, first: bytes, share: _Share) -> IO[bytes]:
    """Return a body that comes in several parts; nothing stays open if it does not come whole."""
    with ExitStack() as on_failure:
        file = on_failure.enter_context(tempfile.SpooledTemporaryFile(MEMORY_BYTES))
        file.write(first)
        more = True
        while more:
            message = await exchange.receive()
            file.write(share.take(message))
            more = message.get("more_body", False)
        file.seek(0)
        on_failure.pop_all()
        return file


def has_body(exchange: Exchange) -> bool:
    """Tell whether a request says that a body follows."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in exchange.scope["headers"]
    )


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
