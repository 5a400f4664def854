"""Changes single fields of a body that goes to an engine, and leaves every other byte of a value.

A body is JSON, or a form as `api.form_body` writes it: with one plain line for each field's name.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from resource_server.domain import errors

#: A field that is taken away.
ABSENT = object()

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BOUNDARY = "boundary="


def with_fields(body: bytes, content_type: str, fields: Mapping[str, object]) -> bytes:
    """Return the body with these fields set, or taken away where they are `ABSENT`."""
    if content_type.startswith("multipart/form-data"):
        return _form(body, content_type.partition(_BOUNDARY)[2].strip('"'), fields)
    try:
        values = {**_fields.decode(body), **fields}
        return msgspec.json.encode({k: v for k, v in values.items() if v is not ABSENT})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.InvalidRequest("The body is not a JSON object.") from error


def field(body: bytes, content_type: str, name: str) -> object:
    """Return the value of a field of a JSON body; None if it is absent, or the body a form."""
    if content_type.startswith("multipart/form-data"):
        return None
    try:
        raw = _fields.decode(body).get(name)
        value: object = None if raw is None else msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.InvalidRequest("The body is not a JSON object.") from error
    return value


def _form(body: bytes, boundary: str, fields: Mapping[str, object]) -> bytes:
    delimiter = f"--{boundary}".encode()
    *parts, end = (b"\r\n" + body).split(b"\r\n" + delimiter)
    replaced = [_head(name) for name in fields]
    kept = [part for part in parts[1:] if not part.lower().startswith(tuple(replaced))]
    made = [
        _head(name) + b"\r\n\r\n" + _text(value).encode()
        for name, value in fields.items()
        if value is not ABSENT
    ]
    return b"\r\n".join(delimiter + part for part in [*made, *kept, end])


def _head(name: str) -> bytes:
    return f'\r\ncontent-disposition: form-data; name="{name}"'.encode()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
