"""How the hub cuts a streamed answer into parts, so that its end is never taken for a cut.

Each part is a kind, a length, and so many bytes. Without an `END` the answer is not whole.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from enum import IntEnum

import aiohttp

#: No part is longer: what is behind it waits no longer than for that (bytes).
MOST_BYTES = 64 * 1024
_HEADER = struct.Struct("!BI")


class Kind(IntEnum):
    """What a part is."""

    BEGIN = 1  # a `StreamBegun`
    DATA = 2  # bytes of the body
    END = 3  # a `StreamEnded`
    ALIVE = 4  # nothing: the hub is there, and has nothing to say


def encoded(kind: Kind, payload: bytes = b"") -> bytes:
    """Return a part, or as many as these bytes need."""
    if len(payload) <= MOST_BYTES:
        return _HEADER.pack(kind, len(payload)) + payload
    pieces = [payload[at : at + MOST_BYTES] for at in range(0, len(payload), MOST_BYTES)]
    return b"".join(encoded(kind, piece) for piece in pieces)


async def decoded(content: aiohttp.StreamReader) -> AsyncGenerator[tuple[int, bytes], None]:
    """Yield the parts as they come, those with data that came together as one.

    Ends where the content does, which is no end of an answer.
    """
    rest = b""
    while received := await content.readany():
        rest = rest + received if rest else received
        at = 0
        data: list[bytes] = []
        while len(rest) - at >= _HEADER.size:
            kind, length = _HEADER.unpack_from(rest, at)
            begin = at + _HEADER.size
            if len(rest) < begin + length:
                break
            at = begin + length
            if kind == Kind.DATA:
                data.append(rest[begin:at])
                continue
            if data:
                yield Kind.DATA, b"".join(data)
                data.clear()
            yield kind, rest[begin:at]
        if data:
            yield Kind.DATA, b"".join(data)
        rest = rest[at:]
