"""How a relay and a hub cut what they say into frames, many requests on one WebSocket.

A message of the WebSocket is binary and holds frames, one behind the other. A frame is a header of
17 bytes (kind, stream, offset, length of the payload; big-endian) and its payload. `stream` numbers
a request within a link, from 1; 0 is the link itself. Which frames there are, who sends them and
what their payloads are stands in docs/developers/relay-protocol.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from compute_functions.contract.errors import ContractError

#: What the WebSocket's opening names as its subprotocol; another version is another name.
SUBPROTOCOL = "hotnode-relay.v1"
#: The most bytes of a body in one frame: what is behind it waits no longer than for that.
MAX_DATA = 64 * 1024
#: The most bytes of one message; frames are put together up to here.
MAX_MESSAGE = 512 * 1024
#: So many bytes of an answer may be under way or unread; they are what a cut link sends again.
WINDOW = 256 * 1024
#: A link that was cut may be resumed for so long (seconds).
RESUME_WITHIN_S = 30.0
#: Each side asks the other for a sign of life this often (seconds).
PING_EVERY_S = 20.0

_HEADER = struct.Struct("!BIQI")
HEADER_BYTES = _HEADER.size


class FrameKind(IntEnum):
    """What a frame is about. The sender stands behind each: R the relay, H the hub."""

    HELLO = 1  # R, link: who it is and what it has
    ACCEPT = 2  # H, link: the answer to that
    REQUEST = 3  # H: a request; offset = the answer's credit
    HEAD = 4  # R: status and headers of the engine's answer
    DATA = 5  # both: bytes of a body, from offset on
    END = 6  # R: the answer is whole; offset = its length
    ERROR = 7  # R: there is no whole answer; offset = what was sent of it
    CANCEL = 8  # H: nobody waits for the answer
    CREDIT = 9  # H: the answer may be sent up to offset
    ACK = 10  # H: END or ERROR has come, the relay may forget the stream
    DRAIN = 11  # both, link: no new requests
    STATS = 12  # R, link: how busy the engine is
    RENEW = 13  # H, link: a new session


class Frame(NamedTuple):
    """One frame. `offset` counts bytes of a body; it is 0 where it means nothing."""

    kind: FrameKind
    stream: int = 0
    offset: int = 0
    payload: bytes = b""


_KINDS = {kind.value: kind for kind in FrameKind}


def header(frame: Frame) -> bytes:
    """Return what stands before the payload, for a sender that joins many frames at once."""
    kind, stream, offset, payload = frame
    return _HEADER.pack(kind, stream, offset, len(payload))


def encoded(frame: Frame) -> bytes:
    """Return the bytes of a frame."""
    return header(frame) + frame.payload


def payload_length(data: bytes, at: int) -> int:
    """Return what the header that begins at `at` says of its payload's length."""
    length: int = _HEADER.unpack_from(data, at)[3]
    return length


def decoded(message: bytes) -> Iterator[Frame]:
    """Yield the frames of a message; raises `ContractError` at one that is none."""
    at, end = 0, len(message)
    while at < end:
        if end - at < HEADER_BYTES:
            raise ContractError("a message ends within a frame's header")
        number, stream, offset, length = _HEADER.unpack_from(message, at)
        kind = _KINDS.get(number)
        if kind is None:
            raise ContractError(f"unknown kind of frame {number}")
        at += HEADER_BYTES
        if length > end - at:
            raise ContractError("a message ends within a frame's payload")
        yield Frame(kind, stream, offset, message[at : at + length])
        at += length
