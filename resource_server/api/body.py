"""Reads requests' bodies, up to a limit each and together, into memory or onto the disk."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import IO, Self

from django.http import HttpRequest

from resource_server.api import refusals
from resource_server.api.exchange import Exchange, Message
from resource_server.domain import errors
from resource_server.domain.limits import NO_SIZES, BodySizes

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

    A body has at most `max_bytes`, or what `uploads` may have, unless its sender may send more or
    less. It has to be here within `timeout_s` of its first part. Those that are held at the same
    time have at most `all_bytes` together, whoever sends them; only what has arrived is counted,
    because declaring a length costs a sender nothing.
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

    def incoming(self, exchange: Exchange, sizes: BodySizes = NO_SIZES) -> Incoming:
        """Return the body of a request; `sizes` says how large a one this very sender may send."""
        return Incoming(
            exchange,
            self._room,
            max_bytes=self._limit(exchange.scope["path"], sizes),
            timeout_s=self._timeout_s,
        )

    def _limit(self, path: str, sizes: BodySizes) -> int:
        if path.endswith(self._uploads.paths):
            return sizes.upload or self._uploads.max_bytes
        return sizes.body or self._max_bytes


@dataclass(slots=True)
class _Room:
    """How many bytes of bodies the process still takes."""

    free_bytes: int


class Incoming:
    """One body. At the end of a `with` block it is closed and counts no more."""

    def __init__(
        self, exchange: Exchange, room: _Room, *, max_bytes: int, timeout_s: float
    ) -> None:
        self._exchange = exchange
        self._room = room
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._taken = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._room.free_bytes += self._taken

    async def read(self) -> IO[bytes]:
        """Return all of it as an open file at its beginning.

        Raises `PayloadTooLarge` or `TooManyBodies` before anything is read if the request declares
        too much, and while reading if it sends too much; `BodyTooSlow`; `InvalidRequest` for a
        length that is no number; and what `Exchange.receive` raises.
        """
        self._check(declared_length(self._exchange))
        message = await self._exchange.receive()
        part = self._take(message)
        if not message.get("more_body", False):
            self._file = BytesIO(part)
            return self._file
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._collect(part)
        except TimeoutError:
            raise refusals.BodyTooSlow from None

    async def _collect(self, first: bytes) -> IO[bytes]:
        """Return a body that comes in several parts."""
        file = self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - see the class
        file.write(first)
        more = True
        while more:
            message = await self._exchange.receive()
            file.write(self._take(message))
            more = message.get("more_body", False)
        file.seek(0)
        return file

    def _check(self, more: int) -> None:
        """Raise `PayloadTooLarge` or `TooManyBodies` if so many bytes more are too many."""
        if self._taken + more > self._max_bytes:
            raise _too_large(self._max_bytes)
        if more > self._room.free_bytes:
            raise refusals.TooManyBodies

    def _take(self, message: Message) -> bytes:
        """Return the part of a body in a message, and count it."""
        part: bytes = message.get("body", b"")
        self._check(len(part))
        self._taken += len(part)
        self._room.free_bytes -= len(part)
        return part


def has_body(request: HttpRequest) -> bool:
    """Tell whether a request says that a body follows."""
    meta = request.META
    return "HTTP_TRANSFER_ENCODING" in meta or meta.get("CONTENT_LENGTH", "0") != "0"


def declared_length(exchange: Exchange) -> int:
    """Return the header `Content-Length`, or 0 for a body that comes in chunks or not at all."""
    for name, value in exchange.scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise errors.InvalidRequest("The header Content-Length is no number.")
            return int(value)
    return 0


def _too_large(max_bytes: int) -> errors.PayloadTooLarge:
    return errors.PayloadTooLarge(
        f"The request's body is larger than {max_bytes} bytes, the most that you may send here. "
        "Send less at once (shorter prompts, smaller images, fewer inputs), or split the work into "
        "several requests: as a batch they may be one file that is much larger (POST …/v1/files, "
        "then …/v1/batches). If that is too little for your work, ask the operators.",
        limit_bytes=max_bytes,
    )
