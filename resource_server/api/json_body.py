"""A JSON body of which only the few fields are read that the gateway acts on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

import msgspec

from resource_server.domain import errors

#: A body with more fields is refused: reading the names of a million takes half a second, in
#: which no other request is served.
MAX_FIELDS = 1000
#: No model's name is longer, and what is longer would fill the log.
MAX_MODEL_CHARS = 255

#: Half of a pair that writes one character as `\ud83d\ude00`, without its other half.
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_model = msgspec.json.Decoder(str)
_stream = msgspec.json.Decoder(bool | None)


class JsonBody:
    """An OpenAI request as JSON; see `ports.RequestBody`."""

    content_type = "application/json"

    def __init__(self, content: bytes) -> None:
        """Read the fields we act on, or raise `InvalidRequest`."""
        self.content = content
        self._values = _read_fields(content)
        self.fields = frozenset(self._values)
        self.model = _read_model(self._values)
        self.stream = _read_stream(self._values)

    def value(self, field: str) -> object:
        """Return a field as plain values; None if it is absent. Raises `InvalidRequest`."""
        if field not in self._values:
            return None
        try:
            value: object = msgspec.json.decode(self._values[field])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise errors.InvalidRequest(f"'{field}' cannot be read.", param=field) from error
        return value

    def raw(self, field: str) -> bytes:
        """Return a field's JSON as it was sent; nothing if it is absent."""
        return bytes(self._values.get(field, b""))

    def replaced(self, values: Mapping[str, object]) -> Self:
        """Return a body with these fields set; every other value keeps its bytes."""
        try:
            return type(self)(msgspec.json.encode({**self._values, **values}))
        except RecursionError as error:
            raise errors.InvalidRequest("The body is nested too deeply.") from error


class _Name(str):
    """A field's name, of a type that the decoder does not know: so it asks us about each."""

    __slots__ = ()


class _FieldCount:
    """Turns the names of one body's fields into `_Name`, and stops the decoder at too many."""

    def __init__(self) -> None:
        self._seen = 0

    def __call__(self, kind: type, name: Any) -> _Name:  # noqa: ANN401 - the decoder's protocol
        self._seen += 1
        if self._seen > MAX_FIELDS:
            raise errors.InvalidRequest(f"The body has more than {MAX_FIELDS} fields.")
        return _Name(name)


def _read_fields(body: bytes) -> dict[str, msgspec.Raw]:
    if not body:
        raise errors.InvalidRequest("The body is empty. A JSON object is expected.")
    _require_utf8(body)
    try:
        # A field has a colon, so most bodies need no counting, which takes four times as long.
        if body.count(b":") <= MAX_FIELDS:
            return _fields.decode(body)
        return _count_and_read_fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.InvalidRequest(
            f"The body is not a JSON object: {_why(body, error)}"
        ) from error
    except RecursionError as error:
        raise errors.InvalidRequest("The body is nested too deeply.") from error


def _require_utf8(body: bytes) -> None:
    """Raise `InvalidRequest` for what is no text: what nobody here reads goes on as it is."""
    try:
        if not body.isascii():
            body.decode()
    except UnicodeDecodeError as error:
        raise errors.InvalidRequest(
            f"The body is not UTF-8: the byte at {error.start} fits no character."
        ) from error


def _why(body: bytes, error: Exception) -> str:
    if found := _LONE_SURROGATE.search(body):
        return f"the escape at byte {found.start()} is half of a surrogate pair, and no character."
    return str(error)


def _count_and_read_fields(body: bytes) -> dict[str, msgspec.Raw]:
    fields = msgspec.json.decode(body, type=dict[_Name, msgspec.Raw], dec_hook=_FieldCount())
    return {str(name): value for name, value in fields.items()}


def _read_model(fields: dict[str, msgspec.Raw]) -> str:
    try:
        model = _model.decode(fields["model"])
    except KeyError as error:
        raise errors.InvalidRequest("The body names no model.", param="model") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.InvalidRequest("'model' is not a string.", param="model") from error
    if len(model) > MAX_MODEL_CHARS:
        raise errors.InvalidRequest(
            f"'model' is longer than {MAX_MODEL_CHARS} characters.", param="model"
        )
    return model


def _read_stream(fields: dict[str, msgspec.Raw]) -> bool:
    try:
        return bool(_stream.decode(fields["stream"])) if "stream" in fields else False
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.InvalidRequest("'stream' is not true or false.", param="stream") from error
