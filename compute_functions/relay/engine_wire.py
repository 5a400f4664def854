"""HTTP/1.1 as an engine speaks it on a connection of this host: a request's bytes, an answer's.

A general client spends more on one call than all the rest of the relay. This one knows what it
needs: it sends whole bodies, and reads answers with a length, in chunks, or up to the end of the
connection. What is not plain is an error: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from compute_functions.errors import EngineBrokeOff

#: More than any engine's head has (bytes).
MOST_HEAD = 64 * 1024
#: A chunk's size, with what may stand behind it, and a line behind the last chunk (bytes).
_MOST_LINE = 4096
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,12}")
_NO_BODY = frozenset({204, 304})
_INTERIM = 200


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a request's head."""
    lines = [f"{method} {path} HTTP/1.1", "host: engine", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("a header holds a line break")
    return f"{text}\r\n\r\n".encode()


class Body(Protocol):
    """Takes an answer's body apart."""

    done: bool

    def feed(self, data: bytes) -> list[bytes]:
        """Return what of `data` is the body's."""
        ...

    def end(self) -> bool:
        """Take note that the connection has ended; return whether the body is whole."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How an answer begins. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    keeps: bool
    body: Body


class Measured:
    """A body of a known length."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data, which must not be more than is left."""
        self._left -= len(data)
        if self._left < 0:
            raise EngineBrokeOff("the engine's answer is longer than it says")
        self.done = self._left == 0
        return [data] if data else []

    def end(self) -> bool:
        """Return whether all has come."""
        return self.done


class Open:
    """A body that ends with the connection."""

    done = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data."""
        return [data] if data else []

    def end(self) -> bool:
        """Return that all has come: nobody can know better."""
        self.done = True
        return True


class Chunked:
    """A body in chunks."""

    def __init__(self) -> None:
        self.done = False
        self._rest = b""
        self._left = 0
        self._within = False
        self._last = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the parts of chunks in the data."""
        data = self._rest + data if self._rest else data
        parts: list[bytes] = []
        at = 0
        while not self.done:
            after = self._content(data, at, parts) if self._within else self._chunk(data, at, parts)
            if after == at:
                break
            at = after
        self._rest = data[at:]
        if self.done and self._rest:
            # What came with it is lost with the error, so the body must not pass for whole.
            self.done = False
            raise EngineBrokeOff("the engine says something behind its answer")
        return parts

    def end(self) -> bool:
        """Return whether the last chunk has come."""
        return self.done

    def _content(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Take a chunk's content, and the line break behind it; return where that ends."""
        if self._left:
            part = data[at : at + self._left]
            if part:
                parts.append(part)
                self._left -= len(part)
            return at + len(part)
        if len(data) - at < 2:  # noqa: PLR2004 # a line break
            return at
        if data[at : at + 2] != b"\r\n":
            raise EngineBrokeOff("a chunk of the engine's answer is longer than it says")
        self._within = False
        return at + 2

    def _chunk(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Take a chunk that is all there, as nearly each is, or else its first line."""
        end = data.find(b"\r\n", at, at + _MOST_LINE)
        if not self._last and _HEX.fullmatch(data, at, end):
            begin, after = end + 2, end + 2 + int(data[at:end], 16)
            if begin < after and data[after : after + 2] == b"\r\n":
                parts.append(data[begin:after])
                return after + 2
        return self._line(data, at)

    def _line(self, data: bytes, at: int) -> int:
        """Take a chunk's size, or a line behind the last chunk; return where it ends."""
        end = data.find(b"\r\n", at)
        if end < 0:
            if len(data) - at > _MOST_LINE:
                raise EngineBrokeOff("the engine's answer is not in chunks")
            return at
        if self._last:
            self.done = end == at
            return end + 2
        size = data[at:end].partition(b";")[0].strip()
        if not _HEX.fullmatch(size):
            raise EngineBrokeOff("the engine's answer is not in chunks")
        self._left = int(size, 16)
        self._last = self._left == 0
        self._within = not self._last
        return end + 2


def read_head(data: bytes) -> tuple[Head, bytes] | None:
    """Return an answer's head and what stands behind it; None if it is not all there."""
    begin = 0
    while (end := data.find(b"\r\n\r\n", begin)) >= 0:
        first, *lines = data[begin:end].split(b"\r\n")
        found = _STATUS.fullmatch(first)
        if found is None:
            raise EngineBrokeOff("the engine does not speak HTTP/1.1")
        begin, status = end + 4, int(found.group(2))
        if status >= _INTERIM:
            return _head(status, lines, is_1_1=found.group(1) == b"1"), data[begin:]
    if len(data) > MOST_HEAD:
        raise EngineBrokeOff("the engine's answer has too long a head")
    return None


def _head(status: int, lines: list[bytes], *, is_1_1: bool) -> Head:
    headers = _headers(lines)
    body = _body(status, headers)
    # A list, as `keep-alive, close`; no other option of it holds this word.
    closes = "close" in headers.get("connection", "").lower() or isinstance(body, Open)
    return Head(status=status, headers=headers, keeps=is_1_1 and not closes, body=body)


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise EngineBrokeOff("a header of the engine's answer is none")
        lower = name.lower()
        if lower in headers and lower in {"content-length", "transfer-encoding"}:
            raise EngineBrokeOff(f"the engine's answer says {lower} twice")
        headers[lower] = value.strip()
    return headers


def _body(status: int, headers: Mapping[str, str]) -> Body:
    if status in _NO_BODY:
        return Measured(0)
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise EngineBrokeOff("the length of the engine's answer is not clear")
        return Chunked()
    if length is None:
        return Open()
    if not (length.isascii() and length.isdecimal()) or len(length) > 15:  # noqa: PLR2004 # digits
        raise EngineBrokeOff("the length of the engine's answer is no number")
    return Measured(int(length))
