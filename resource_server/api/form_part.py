"""One field of a form: read from what a client wrote, and written so that nobody can misread it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote_to_bytes

from resource_server.api.header_options import read_options
from resource_server.domain import errors

#: The lines that describe a field are not longer, taken together (bytes).
MAX_HEAD_BYTES = 4096
MAX_HEAD_LINES = 8
#: A field that is no file is not longer (bytes): an audio prompt is the longest there is.
MAX_VALUE_BYTES = 65_536

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
#: Names that need no quoting, as `timestamp_granularities[]`: parsers differ in how they quote.
_NAME = re.compile(r"[^\x00-\x1f\x7f\"\\%]{1,255}")
_UNSAFE_IN_FILENAMES = re.compile(r"[\x00-\x1f\x7f\"\\]")
_MEDIA_TYPE = re.compile(rb"[\w.+-]+/[\w.+-]+", re.ASCII)
_EXTENDED = re.compile(rb"[\w-]*'[\w-]*'(.*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormPart:
    """One field: its name, what it is, and its content as a slice of the body."""

    name: str
    filename: str | None
    media_type: bytes | None
    content: memoryview | bytes

    @classmethod
    def read(cls, head: bytes, content: memoryview) -> Self:
        """Return the field that these lines describe, or raise `InvalidRequest`."""
        headers = _headers(head)
        kind, options = read_options(headers.get(b"content-disposition", b""))
        name = _text(options.get(b"name", b""))
        if kind != b"form-data" or not _NAME.fullmatch(name):
            raise errors.InvalidRequest(
                "A field of the form has no name, or one with quotes or control characters in it."
            )
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip()
        return cls(
            name=name,
            filename=_filename(options),
            media_type=media_type if _MEDIA_TYPE.fullmatch(media_type) else None,
            content=content,
        )

    @property
    def head(self) -> bytes:
        """The lines that describe the field, as every parser reads them alike."""
        line = f'Content-Disposition: form-data; name="{self.name}"'
        if self.filename is not None:
            line += f'; filename="{self.filename}"'
        head = line.encode() + b"\r\n"
        if self.filename is not None and self.media_type:
            head += b"Content-Type: %b\r\n" % self.media_type
        return head

    @property
    def text(self) -> str:
        """The content of a field that is no file. Raises `InvalidRequest`."""
        if len(self.content) > MAX_VALUE_BYTES:
            raise errors.InvalidRequest(
                f"'{self.name}' is longer than {MAX_VALUE_BYTES} bytes.", param=self.name
            )
        try:
            return bytes(self.content).decode()
        except UnicodeDecodeError as error:
            raise errors.InvalidRequest(f"'{self.name}' is not UTF-8.", param=self.name) from error


def _headers(head: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in _lines(head):
        if name in headers:
            raise errors.InvalidRequest(
                f"A field of the form has the header '{name.decode()}' more than once."
            )
        headers[name] = value
    return headers


def _lines(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n", MAX_HEAD_LINES)
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None or len(lines) > MAX_HEAD_LINES:
            raise errors.InvalidRequest(
                "The form cannot be read: a field has too many headers, or one that is none."
            )
        yield found[1].lower(), found[2]


def _filename(options: Mapping[bytes, bytes]) -> str | None:
    """Return a file's name; None for a field that is no file.

    Some clients write a name that is not ASCII as `filename*` alone (RFC 2231), which a form must
    not have (RFC 7578) and most engines do not read. Others send the whole path on Windows.
    """
    name = options.get(b"filename")
    if name is None:
        extended = _EXTENDED.fullmatch(options.get(b"filename*", b""))
        if extended is None:
            return None
        name = unquote_to_bytes(extended[1])
    return _UNSAFE_IN_FILENAMES.sub("_", _text(name).rpartition("\\")[2])


def _text(written: bytes) -> str:
    return written.decode("utf-8", "replace")
