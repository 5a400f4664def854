"""OpenAI's Files: what people upload for batches, and what batches leave."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from django.http.response import HttpResponseBase
from ninja import Router

from resource_server.api import access_log, bases
from resource_server.api.bases import Mount, base_of
from resource_server.api.context import GatewayRequest, gateway_of
from resource_server.api.file_content import content_response
from resource_server.api.form_body import read_boundary
from resource_server.api.form_stream import FormStream
from resource_server.api.framework import StreamedRouter, reads_stream
from resource_server.api.upload_form import PURPOSE, UploadForm
from resource_server.domain import errors
from resource_server.domain.files import Purpose, StoredFile
from resource_server.domain.paging import Page, file_paging

_FORM = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": ["batch"]},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer"},
    },
}
_UPLOAD = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


def make_router(mount: Mount) -> Router:
    """Return the routes for one base URL."""
    router = StreamedRouter(tags=[f"OpenAI API {mount.description}"])
    named = bases.parameters(*mount.parameters)
    one = bases.parameters(*mount.parameters, "file_id")
    for path, method, view, summary, extra in (
        ("/files", "POST", create_file, "Upload a file for batches", named | _UPLOAD),
        ("/files", "GET", list_files, "List your files", named),
        ("/files/{file_id}", "GET", retrieve_file, "Describe one file", one),
        ("/files/{file_id}", "DELETE", delete_file, "Delete a file", one),
        ("/files/{file_id}/content", "GET", file_content, "Download a file", one),
    ):
        router.add_api_operation(
            path,
            [method],
            view,
            summary=summary,
            operation_id=f"{mount.name}_{view.__name__}",
            openapi_extra=extra,
        )
    return router


@reads_stream
async def create_file(request: GatewayRequest) -> dict[str, Any]:
    """Store the file of a form while it comes; what breaks off leaves nothing.

    Fields may stand before or after the file.
    """
    gateway, base = gateway_of(request), base_of(request)
    access_log.note_base(request, base)
    gateway.batches.require_offer(request.auth, base)
    await count(request)
    boundary = read_boundary(request.META.get("CONTENT_TYPE", ""), PURPOSE)
    body = request.streamed
    if body is None:
        raise errors.InvalidRequest("The request has no body.")
    async with aclosing(body.pieces()) as pieces:
        form = UploadForm(FormStream(pieces, boundary))
        upload = await form.begun(body.declared)
        async with aclosing(form.content()) as content:
            file = await gateway.files.create(request.auth, upload, content, settled=form.upload)
    request.log_fields |= {"file": file.id, "bytes_in": body.read}
    return file_object(file)


async def list_files(
    request: GatewayRequest,
    purpose: str | None = None,
    after: str | None = None,
    limit: int | None = None,
    order: str | None = None,
) -> dict[str, Any]:
    """Return your files, also those that batches left; the newest first, if nothing else is said.

    A purpose that no file here has is no mistake: there are none of it.
    """
    paging = file_paging(after=after, limit=limit, order=order)
    await enter(request)
    if purpose and purpose not in set(Purpose):
        return list_object([], has_more=False)
    wanted = Purpose(purpose) if purpose else None
    page: Page[StoredFile] = await gateway_of(request).files.list(request.auth, paging, wanted)
    return list_object([file_object(file) for file in page.items], has_more=page.has_more)


async def retrieve_file(request: GatewayRequest, file_id: str) -> dict[str, Any]:
    """Return what is known of one of your files."""
    return file_object(await _found(request, file_id))


async def file_content(request: GatewayRequest, file_id: str) -> HttpResponseBase:
    """Return a file's bytes, or the part that the header `Range` names."""
    file = await _found(request, file_id)
    return await content_response(request, gateway_of(request).files, file)


async def delete_file(request: GatewayRequest, file_id: str) -> dict[str, Any]:
    """Delete a file. An active batch of which it is the input goes on."""
    await enter(request)
    await gateway_of(request).files.delete(request.auth, file_id)
    request.log_fields["file"] = file_id
    return {"id": file_id, "object": "file", "deleted": True}


async def enter(request: GatewayRequest) -> None:
    """Raise an error if the base URL leads nowhere, or the caller asks too often.

    Notes in the log what the base URL names.
    """
    base = base_of(request)
    access_log.note_base(request, base)
    gateway_of(request).batches.require_base(request.auth, base)
    await count(request)


async def count(request: GatewayRequest) -> None:
    """Count a request about files or batches, or raise `RateLimited`."""
    limits = gateway_of(request).limits
    await limits.count_batch_request(request.auth, request_id=request.request_id)


def file_object(file: StoredFile) -> dict[str, Any]:
    """Return a file as OpenAI's clients read it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose.value,
        "status": "processed",
        "status_details": None,
    }


def list_object(items: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Return one page as OpenAI's clients read it."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }


async def _found(request: GatewayRequest, file_id: str) -> StoredFile:
    await enter(request)
    file = await gateway_of(request).files.get(request.auth, file_id)
    request.log_fields["file"] = file.id
    return file
