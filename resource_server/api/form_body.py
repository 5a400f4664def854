"""A form with a file, as audio routes take it: `multipart/form-data`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from resource_server.api.json_body import MAX_MODEL_CHARS
from resource_server.domain import errors

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

#: A form with more fields is refused.
MAX_PARTS = 100
#: A field that is no file is not longer (bytes): an audio prompt is the longest there is.
MAX_VALUE_BYTES = 65_536


@dataclass(slots=True)
class _Part:
    """One field of the form: its headers and its content, in slices of the body."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    slices: list[memoryview] = field(default_factory=list)

    @property
    def options(self) -> Mapping[bytes, bytes]:
        """What the part's `Content-Disposition` says, as `name` and `filename`."""
        for name, value in self.headers:
            if name.lower() == b"content-disposition":
                return parse_options_header(value)[1]
        return {}

    @property
    def name(self) -> str:
        return self.options.get(b"name", b"").decode("utf-8", "replace")

    @property
    def is_file(self) -> bool:
        return b"filename" in self.options

    @property
    def text(self) -> str:
        """The content of a field that is no file."""
        if sum(len(piece) for piece in self.slices) > MAX_VALUE_BYTES:
            raise errors.InvalidRequest(
                f"'{self.name}' is longer than {MAX_VALUE_BYTES} bytes.", param=self.name
            )
        return b"".join(self.slices).decode("utf-8", "replace")


class FormBody:
    """An OpenAI request as a form; see `ports.RequestBody`. Every value of a form is a text."""

    def __init__(self, content: bytes, content_type: str) -> None:
        """Read the fields we act on, or raise `InvalidRequest`."""
        self.content = content
        self.content_type = content_type
        self._parts = _read_parts(content, _boundary(content_type))
        self.fields = frozenset(part.name for part in self._parts)
        self.model = self._read_model()
        self.stream = self._text("stream").lower() in ("true", "1")

    def value(self, field: str) -> object:
        """Return a field's text; None if it is absent or a file."""
        found = [part for part in self._parts if part.name == field and not part.is_file]
        return found[-1].text if found else None

    def replaced(self, values: Mapping[str, object]) -> Self:
        """Return a form with these fields set and all others, files too, as they were."""
        boundary = secrets.token_hex(16)
        kept = [part for part in self._parts if part.name not in values]
        pieces: list[bytes | memoryview] = []
        for name, value in values.items():
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
            pieces += [head.encode(), str(value).encode(), b"\r\n"]
        for part in kept:
            pieces.append(f"--{boundary}\r\n".encode())
            pieces += [b"%b: %b\r\n" % header for header in part.headers]
            pieces += [b"\r\n", *part.slices, b"\r\n"]
        pieces.append(f"--{boundary}--\r\n".encode())
        return type(self)(b"".join(pieces), f"multipart/form-data; boundary={boundary}")

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


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise errors.InvalidRequest(
            "This route takes a form (multipart/form-data) with the fields 'model' and 'file'."
        )
    return boundary


def _read_parts(content: bytes, boundary: bytes) -> list[_Part]:
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(content)
        parser.finalize()
    except MultipartParseError as error:
        raise errors.InvalidRequest(f"The form cannot be read: {error}") from error
    if not reader.ended:
        raise errors.InvalidRequest("The form is cut off: its last boundary is missing.")
    return reader.parts


class _Reader:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.ended = False
        self._name = b""
        self._value = b""

    def callbacks(self) -> MultipartCallbacks:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._part_begins,
            "on_part_data": self._data,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ends,
            "on_end": self._ends,
        }

    def _part_begins(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise errors.InvalidRequest(f"The form has more than {MAX_PARTS} fields.")
        self.parts.append(_Part())

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].slices.append(memoryview(data)[start:end])

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self.parts[-1].headers.append((self._name, self._value))
        self._name = self._value = b""

    def _ends(self) -> None:
        self.ended = True
