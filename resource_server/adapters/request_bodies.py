"""Changes single fields of a body that goes to an engine, and leaves every other byte of a value.

A body is JSON, or a form as `api.form_body` writes it: with one plain line for each field's name.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from resource_server.domain import errors

#: A field that is taken away.
ABSENT = object()

#: With what each field of a form begins, its name behind it; in any case.
_HEAD = b'\r\ncontent-disposition: form-data; name="'

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BOUNDARY = "boundary="


def with_fields(body: bytes, content_type: str, fields: Mapping[str, object]) -> bytes:
    """Return the body with these fields set, or taken away where they are `ABSENT`."""
    if content_type.startswith("multipart/form-data"):
        return _form(body, content_type, fields)
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


def form_field(body: bytes, content_type: str, name: str) -> str | None:
    """Return the text of a form's field; None if it is absent, or the body no form."""
    if not content_type.startswith("multipart/form-data"):
        return None
    for part in _parts(body, content_type)[:-1]:
        if _name(part) == name:
            return part.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
    return None


def _form(body: bytes, content_type: str, fields: Mapping[str, object]) -> bytes:
    delimiter = _delimiter(content_type)
    *parts, end = _parts(body, content_type)
    kept = [part for part in parts if _name(part) not in fields]
    made = [
        _HEAD + f'{name}"\r\n\r\n{_text(value)}'.encode()
        for name, value in fields.items()
        if value is not ABSENT
    ]
    # One join alone copies what may be a long sound.
    lines = [piece for part in (*made, *kept, end) for piece in (delimiter, part, b"\r\n")]
    return b"".join(lines[:-1])


def _delimiter(content_type: str) -> bytes:
    return b"--" + content_type.partition(_BOUNDARY)[2].strip('"').encode()


def _parts(body: bytes, content_type: str) -> list[bytes]:
    """Return a form's parts, and what stands behind the last one."""
    delimiter = _delimiter(content_type)
    return body.removeprefix(delimiter).split(b"\r\n" + delimiter)


def _name(part: bytes) -> str:
    """Return the name of a field; nothing if it is not written as `api.form_body` does."""
    if part[: len(_HEAD)].lower() != _HEAD:
        return ""
    return part[len(_HEAD) : part.find(b'"', len(_HEAD))].decode("utf-8", "replace")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
