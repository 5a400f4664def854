"""A stored file as an answer: all of it or a part, or nothing for who has it already."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from resource_server.api import refusals
from resource_server.api.byte_range import ByteRange, read_range
from resource_server.api.context import GatewayRequest
from resource_server.api.errors import error_response, note
from resource_server.domain.files import StoredFile
from resource_server.services.files import Files

#: Nothing that a browser would show or run.
CONTENT_TYPE = "application/octet-stream"


async def content_response(
    request: GatewayRequest, files: Files, file: StoredFile
) -> HttpResponseBase:
    """Return the response to a question for a file's content."""
    tag = f'"{file.sha256}"'
    if _names(request.META.get("HTTP_IF_NONE_MATCH", ""), tag):
        return _described(HttpResponse(status=304), file, tag)
    try:
        part = _part(request, file, tag)
    except refusals.RangeNotSatisfiable as error:
        note(request, error)
        refused = error_response(error, request.path)
        refused["Content-Range"] = f"bytes */{file.bytes}"
        return refused
    found = await files.content(request.auth, file.id, offset=part.begin if part else 0)
    length = part.length if part else file.bytes
    response = StreamingHttpResponse(_first(found.content, length), content_type=CONTENT_TYPE)
    response["Content-Length"] = str(length)
    if part is not None:
        response.status_code = 206
        response["Content-Range"] = part.header
    return _described(response, file, tag)


def _part(request: GatewayRequest, file: StoredFile, tag: str) -> ByteRange | None:
    """Return the part that is asked for; none if it is of another file than this."""
    wanted = request.META.get("HTTP_IF_RANGE", tag)
    return read_range(request.META.get("HTTP_RANGE", ""), file.bytes) if wanted == tag else None


def _names(header: str, tag: str) -> bool:
    """Tell whether the header `If-None-Match` names a file's tag."""
    return tag in (one.strip().removeprefix("W/") for one in header.split(","))


def _described(response: HttpResponseBase, file: StoredFile, tag: str) -> HttpResponseBase:
    response["ETag"] = tag
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    named = content_disposition_header(as_attachment=True, filename=file.filename)
    response["Content-Disposition"] = named or "attachment"
    return response


async def _first(content: AsyncGenerator[bytes, None], length: int) -> AsyncGenerator[bytes, None]:
    """Yield so many bytes of a file's content, and close it."""
    async with aclosing(content):
        async for block in content:
            yield block[:length]
            length -= len(block)
            if length <= 0:
                return
