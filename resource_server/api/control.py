"""The few fields of an OpenAI body that the gateway acts on; the rest is not even parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from resource_server.domain import errors

#: A body with more fields is refused: reading the names of a million takes half a second, in
#: which no other request is served.
MAX_FIELDS = 1000
#: No model's id is longer, and what is longer would fill the log.
MAX_MODEL_CHARS = 255

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_model = msgspec.json.Decoder(str)
_stream = msgspec.json.Decoder(bool | None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The fields we act on, and the names of all."""

    model: str
    stream: bool
    fields: frozenset[str]


def read_control(body: bytes) -> Control:
    """Return what the gateway needs to know of `body`, or raise `InvalidRequest`."""
    fields = _read_fields(body)
    return Control(
        model=_read_model(fields),
        stream=_read_stream(fields),
        fields=frozenset(fields),
    )


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
    try:
        # A field has a colon, so most bodies need no counting, which takes four times as long.
        if body.count(b":") <= MAX_FIELDS:
            return _fields.decode(body)
        return _count_and_read_fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.InvalidRequest(f"The body is not a JSON object: {error}") from error
    except RecursionError as error:
        raise errors.InvalidRequest("The body is nested too deeply.") from error


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
