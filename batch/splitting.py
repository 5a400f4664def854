"""Blocks of a file cut into lines, in little memory: a line that is too long is only measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: A line may have so many bytes that do not count: a byte order mark and a CR.
_NOT_CONTENT = 4


class RawLine(NamedTuple):
    """One line as it stands in the file; `number` counts from 1.

    `content` has neither line end nor byte order mark, and is `length` bytes from `offset` on. Of a
    line that is much too long `content` is empty. `ended` says whether a line end follows.
    A tuple, because a file has hundreds of thousands and a dataclass takes three times as long.
    """

    number: int
    offset: int
    content: bytes
    length: int
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeLines:
    """Lines that follow each other in `data`, each with its line end; `number` is the first's."""

    number: int
    offset: int
    data: bytes

    def contents(self) -> list[bytes]:
        """Return the lines without their LF; what may stand before it is left."""
        return self.data[:-1].split(b"\n")

    def lines(self) -> Iterator[RawLine]:
        """Yield the lines one by one."""
        offset = self.offset
        for number, content in enumerate(self.contents(), self.number):
            yield raw_line(number, offset, content)
            offset += len(content) + 1


def raw_line(number: int, offset: int, content: bytes, *, ended: bool = True) -> RawLine:
    """Return a line without the CR that may end it."""
    content = content.removesuffix(b"\r")
    return RawLine(number, offset, content, len(content), ended)


class LineSplitter:
    """Takes a file's blocks, of any size, and gives its lines.

    It holds at most `most_line_bytes` and one block.
    """

    def __init__(self, most_line_bytes: int) -> None:
        self._most = most_line_bytes
        self._number = 1
        #: Where the line begins of which `_held` is what came so far.
        self._offset = 0
        self._held = b""
        #: How many bytes of that line were thrown away, because it is too long.
        self._dropped = 0

    def feed(self, block: bytes) -> Iterator[RawLine | WholeLines]:
        """Take the next block, and yield what ends in it."""
        cut = block.rfind(b"\n") + 1
        whole, rest = block[:cut], block[cut:]
        if whole and self._dropped:
            end = whole.index(b"\n")
            yield self._too_long(end, ended=True)
            whole = whole[end + 1 :]
        if whole:
            yield self._lines(self._held + whole)
            self._held = b""
        self._hold(rest)

    def finish(self) -> Iterator[RawLine]:
        """Yield the last line, when no line end follows it."""
        if self._dropped:
            yield self._too_long(0, ended=False)
        elif held := self._without_mark(self._held):
            yield raw_line(self._number, self._offset, held, ended=False)

    def _lines(self, data: bytes) -> WholeLines:
        data = self._without_mark(data)
        lines = WholeLines(number=self._number, offset=self._offset, data=data)
        self._number += data.count(b"\n")
        self._offset += len(data)
        return lines

    def _too_long(self, more: int, *, ended: bool) -> RawLine:
        length = self._dropped + more
        line = RawLine(self._number, self._offset, b"", length, ended)
        self._number += 1
        self._offset += length + 1
        self._dropped = 0
        return line

    def _hold(self, rest: bytes) -> None:
        if self._dropped:
            self._dropped += len(rest)
        elif len(self._held) + len(rest) > self._most + _NOT_CONTENT:
            self._dropped = len(self._held) + len(rest)
            self._held = b""
        else:
            self._held += rest

    def _without_mark(self, data: bytes) -> bytes:
        if self._number == 1 and data.startswith(_BYTE_ORDER_MARK):
            self._offset += len(_BYTE_ORDER_MARK)
            return data[len(_BYTE_ORDER_MARK) :]
        return data
