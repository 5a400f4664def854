"""Bytes to frames and back with pika's codec, and a bound on the size of a frame."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, TypeAlias

from pika import frame
from pika.spec import FRAME_END_SIZE, FRAME_HEADER_SIZE, BasicProperties

from local_globus.broker.errors import ConnectionFault

#: What pika's codec reads and writes; pika publishes no types.
Frame: TypeAlias = Any
Method: TypeAlias = Any
#: The properties and the body of a message.
Content: TypeAlias = tuple[BasicProperties, bytes]

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_MAX = 131_072
_OVERHEAD: int = FRAME_HEADER_SIZE + FRAME_END_SIZE
_HEADER = struct.Struct(">BHL")


class FrameReader:
    """Collect bytes and hand out the frames that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add what arrived and yield each complete frame."""
        self._buffer += data
        start = 0
        while (size := self._frame_size(start)) and start + size <= len(self._buffer):
            piece = bytes(self._buffer[start : start + size])
            start += size
            yield frame.decode_frame(piece)[1]
        del self._buffer[:start]

    def _frame_size(self, start: int) -> int:
        if len(self._buffer) - start < FRAME_HEADER_SIZE:
            return 0
        _, _, payload = _HEADER.unpack_from(self._buffer, start)
        if payload + _OVERHEAD > FRAME_MAX:
            raise ConnectionFault(501, "FRAME_ERROR - frame is too large")
        return int(payload) + _OVERHEAD


def method(channel: int, content: Method) -> bytes:
    """Encode a method without content."""
    encoded: bytes = frame.Method(channel, content).marshal()
    return encoded


def heartbeat() -> bytes:
    """Encode a heartbeat."""
    encoded: bytes = frame.Heartbeat().marshal()
    return encoded


def content(channel: int, properties: BasicProperties, body: bytes, frame_max: int) -> bytes:
    """Encode the header and the body that follow a method which carries a message."""
    step = frame_max - _OVERHEAD
    pieces = [frame.Header(channel, len(body), properties).marshal()]
    pieces += [
        frame.Body(channel, body[at : at + step]).marshal() for at in range(0, len(body), step)
    ]
    return b"".join(pieces)
