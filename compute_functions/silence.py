"""A form with a sound in which nothing is to be heard: the smallest speech-to-text request."""

from __future__ import annotations

import io
import secrets
import wave
from collections.abc import Mapping

RATE = 16_000
#: Shorter sounds are refused by some engines (seconds).
LENGTH_S = 1


def form(fields: Mapping[str, str], file_field: str) -> tuple[bytes, str]:
    """Return the multipart body with `fields` and the file, and its content type."""
    boundary = secrets.token_hex(16)
    parts = [_part(f'name="{name}"', value.encode()) for name, value in fields.items()]
    file = f'name="{file_field}"; filename="silence.wav"\r\ncontent-type: audio/wav'
    parts.append(_part(file, _wave()))
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
    return body, f"multipart/form-data; boundary={boundary}"


def _part(what: str, content: bytes) -> bytes:
    return f"content-disposition: form-data; {what}\r\n\r\n".encode() + content


def _wave() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(bytes(2 * RATE * LENGTH_S))
    return file.getvalue()
