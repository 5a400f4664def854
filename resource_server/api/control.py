"""The few fields of an OpenAI body that the gateway acts on; the rest is not even parsed."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from resource_server.domain import errors

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
    try:
        fields = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.InvalidRequest(f"The body is not a JSON object: {error}") from error
    return Control(
        model=_read_model(fields),
        stream=_read_stream(fields),
        fields=frozenset(fields),
    )


def _read_model(fields: dict[str, msgspec.Raw]) -> str:
    try:
        return _model.decode(fields["model"])
    except KeyError as error:
        raise errors.InvalidRequest("The body names no model.", param="model") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.InvalidRequest("'model' is not a string.", param="model") from error


def _read_stream(fields: dict[str, msgspec.Raw]) -> bool:
    try:
        return bool(_stream.decode(fields["stream"])) if "stream" in fields else False
    except msgspec.DecodeError as error:
        raise errors.InvalidRequest("'stream' is not true or false.", param="stream") from error
