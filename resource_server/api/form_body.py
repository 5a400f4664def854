"""A form with a file, as audio routes take it: `multipart/form-data`.

It never goes on as it came: an engine gets a form written anew from what was read here, so that it
reads no other fields than those that were checked.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Self

from resource_server.api.form_part import MAX_HEAD_BYTES, FormPart
from resource_server.api.header_options import read_options
from resource_server.api.json_body import MAX_MODEL_CHARS
from resource_server.domain import errors

#: A form with more fields is refused.
MAX_PARTS = 100
#: What may stand between the fields (RFC 2046).
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
#: Fields that must not be there twice: engines take the last, or all.
_ONCE = ("model", "stream")
_STREAM = {"true": True, "1": True, "false": False, "0": False, "": False}


class FormBody:
    """An OpenAI request as a form; see `ports.RequestBody`. Every value of a form is a text."""

    def __init__(self, content: bytes, content_type: str) -> None:
        """Read the fields we act on, or raise `InvalidRequest`."""
        self._parts = list(_parts(content, read_boundary(content_type, "model")))
        self._new_boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={self._new_boundary}"
        names = [part.name for part in self._parts]
        for field in _ONCE:
            if names.count(field) > 1:
                raise errors.InvalidRequest(f"The form has '{field}' twice.", param=field)
        self.fields = frozenset(names)
        self.model = self._read_model()
        self.stream = self._read_stream()

    @cached_property
    def content(self) -> bytes:
        """The form, written anew."""
        return _written(self._parts, self._new_boundary)

    def value(self, field: str) -> object:
        """Return a field's text; None if it is absent or a file. Raises `InvalidRequest`."""
        found = [part for part in self._parts if part.name == field and part.filename is None]
        return found[-1].text if found else None

    def raw(self, field: str) -> bytes:
        """Return nothing: no field of a form is JSON."""
        return b""

    def replaced(self, values: Mapping[str, object]) -> Self:
        """Return a form with these fields set and all others, files too, as they were."""
        made = [
            FormPart(name=name, filename=None, media_type=None, content=str(value).encode())
            for name, value in values.items()
        ]
        kept = [part for part in self._parts if part.name not in values]
        return type(self)(_written(made + kept, self._new_boundary), self.content_type)

    def _text(self, field: str) -> str:
        value = self.value(field)
        return value if isinstance(value, str) else ""

    def _read_model(self) -> str:
        model = self._text("model")
        if not model:
            raise errors.InvalidRequest("The form names no model.", param="model")
        if len(model) > MAX_MODEL_CHARS:
            raise errors.InvalidRequest(
                f"'model' is longer than {MAX_MODEL_CHARS} characters.", param="model"
            )
        return model

    def _read_stream(self) -> bool:
        stream = _STREAM.get(self._text("stream").lower())
        if stream is None:
            raise errors.InvalidRequest("'stream' is not true or false.", param="stream")
        return stream


def read_boundary(content_type: str, field: str) -> bytes:
    """Return what stands between a form's fields, or raise `InvalidRequest`.

    `field` is the one that it has beside its file, for who sends something else.
    """
    kind, options = read_options(content_type.encode("latin-1", "replace"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not _BOUNDARY.fullmatch(boundary):
        raise errors.InvalidRequest(
            f"This route takes a form (multipart/form-data) with the fields '{field}' and 'file'."
        )
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise errors.InvalidRequest("A form is taken in UTF-8 and no other charset.")
    return boundary


def _parts(content: bytes, boundary: bytes) -> Iterator[FormPart]:
    """Yield the fields of a form, or raise `InvalidRequest`.

    It is cut at its boundaries, which is fast whatever stands in between. Nothing is allowed that
    no client writes and parsers read in several ways: text before the first boundary, or white
    space after one.
    """
    view = memoryview(content)
    delimiter = b"\r\n--" + boundary
    at = len(delimiter) - 2
    if not content.startswith(delimiter[2:]):
        raise errors.InvalidRequest("The form does not begin with its boundary.")
    for _ in range(MAX_PARTS + 1):
        if content[at : at + 2] == b"--":
            return
        end = content.find(delimiter, at)
        if content[at : at + 2] != b"\r\n" or end < 0:
            raise errors.InvalidRequest("The form is cut off, or a boundary in it is no line.")
        yield _part(view[at + 2 : end])
        at = end + len(delimiter)
    raise errors.InvalidRequest(f"The form has more than {MAX_PARTS} fields.")


def _part(part: memoryview) -> FormPart:
    head = bytes(part[:MAX_HEAD_BYTES])
    length = head.find(b"\r\n\r\n")
    if length < 0:
        raise errors.InvalidRequest(
            f"A field of the form has no content, or headers of more than {MAX_HEAD_BYTES} bytes."
        )
    return FormPart.read(head[:length], part[length + 4 :])


def _written(parts: list[FormPart], boundary: str) -> bytes:
    pieces: list[bytes | memoryview] = []
    for part in parts:
        pieces += [f"--{boundary}\r\n".encode(), part.head, b"\r\n", part.content, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces)
