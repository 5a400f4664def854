"""The header `Range`: which bytes of a file somebody wants, who may have had the others before."""

from __future__ import annotations

import re
from dataclasses import dataclass

from resource_server.api import refusals

#: One range of bytes; several at once are answered with the whole file, as the RFC allows.
_RANGE = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{1,15})?|-([0-9]{1,15}))")


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes from `begin` up to and without `end`, of `size`."""

    begin: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return self.end - self.begin

    @property
    def header(self) -> str:
        """The value of `Content-Range`."""
        return f"bytes {self.begin}-{self.end - 1}/{self.size}"


def read_range(header: str, size: int) -> ByteRange | None:
    """Return the range that is asked for, None for all of the file (RFC 9110, 14.2).

    Raises `RangeNotSatisfiable` for one that begins behind the end.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        begin, end = max(0, size - int(suffix)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < begin:
            return None  # it is no range at all
    if begin >= end:
        raise refusals.RangeNotSatisfiable(f"The file has {size} bytes.")
    return ByteRange(begin=begin, end=end, size=size)
