"""What an engine makes of a form: vLLM and infinity read forms with Starlette."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadField:
    """One field as an engine reads it; `filename` is None for what is no file."""

    name: str
    filename: str | None
    media_type: str | None
    content: bytes


async def read_form(content: bytes, content_type: str) -> list[ReadField]:
    """Return the fields that Starlette finds, in order."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield content

    headers = Headers({"content-type": content_type})
    form = await MultiPartParser(headers, stream()).parse()
    try:
        return [await _field(name, value) for name, value in form.multi_items()]
    finally:
        await form.close()


async def _field(name: str, value: UploadFile | str) -> ReadField:
    if isinstance(value, str):
        return ReadField(name=name, filename=None, media_type=None, content=value.encode())
    return ReadField(
        name=name,
        filename=value.filename,
        media_type=value.content_type,
        content=await value.read(),
    )
