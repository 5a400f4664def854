"""Batches below each base URL: OpenAI's routes, and ALCF's, which have the same URLs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from ninja import Router

from resource_server.api import access_log, alcf_batches, bases, batch_words
from resource_server.api.bases import Mount, base_of
from resource_server.api.batch_body import read_batch
from resource_server.api.batch_objects import batch_object
from resource_server.api.batch_words import Words
from resource_server.api.context import GatewayRequest, gateway_of
from resource_server.api.files import count, enter, list_object
from resource_server.domain.batch_requests import ENDPOINTS
from resource_server.domain.batches import Batch, BatchFilter
from resource_server.domain.paging import Paging, batch_paging

#: ALCF's list has no pages: so many, the newest.
MOST_LISTED = 1_000
_TEXT = {"type": "string"}
_BODY = {
    "type": "object",
    "properties": {
        "input_file_id": _TEXT | {"description": "An uploaded file; or else `input_file`."},
        "input_file": _TEXT | {"description": "The full path of a file of the cluster."},
        "output_folder_path": _TEXT | {"description": "With `input_file`: where results go."},
        "model": _TEXT | {"description": "Needed with `input_file`."},
        "endpoint": _TEXT | {"enum": list(ENDPOINTS)},
        "completion_window": _TEXT | {"default": "24h"},
        "metadata": {"type": "object", "additionalProperties": _TEXT},
        "output_expires_after": {
            "type": "object",
            "properties": {"anchor": {"enum": ["created_at"]}, "seconds": {"type": "integer"}},
        },
    },
}
_CREATE = {"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": _TEXT,
    "description": "Who repeats a request with the same key gets the same batch.",
}


def make_router(mount: Mount) -> Router:
    """Return the routes for one base URL."""
    router = Router(tags=[f"OpenAI API {mount.description}"])
    named = bases.parameters(*mount.parameters)
    one = bases.parameters(*mount.parameters, "batch_id")
    create = {"parameters": [*named["parameters"], _KEY]} | _CREATE
    for path, method, view, summary, extra in (
        ("/batches", "POST", _creates(mount), "Have a file of requests done", create),
        ("/batches", "GET", _lists(mount), "List your batches", named),
        ("/batches/{batch_id}", "GET", _retrieves(mount), "Tell how a batch is", one),
        ("/batches/{batch_id}/result", "GET", result, "Tell what a batch left", one),
        ("/batches/{batch_id}/cancel", "POST", _cancels(mount), "Cancel a batch", one),
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


def _creates(mount: Mount) -> Callable[[GatewayRequest], Awaitable[dict[str, Any]]]:
    async def create_batch(request: GatewayRequest) -> dict[str, Any]:
        """Take an uploaded file (`input_file_id`), or a file of the cluster (`input_file`)."""
        base = base_of(request)
        access_log.note_base(request, base)
        asked = read_batch(request.body, idempotency_key=request.META.get("HTTP_IDEMPOTENCY_KEY"))
        await count(request)
        words = batch_words.of_one(request, mount, by_path=asked.input_path is not None)
        # OpenAI's clients look for files of the gateway, whatever the input was.
        asked = replace(asked, fetches=words is Words.OPENAI)
        batch = await gateway_of(request).batches.create(request.auth, base, asked)
        _note(request, batch)
        return alcf_batches.created(batch) if words is Words.ALCF else batch_object(batch)

    return create_batch


def _lists(mount: Mount) -> Callable[..., Awaitable[Any]]:
    async def list_batches(
        request: GatewayRequest,
        after: str | None = None,
        limit: int | None = None,
        status: str | None = None,
    ) -> Any:  # noqa: ANN401 - an array or an object, as ADR 0015 says
        """Return your batches, the newest first: OpenAI's page, or ALCF's array.

        Below a cluster they are those of that cluster. `status` is in the words of the answer.
        """
        await enter(request)
        batches, words = gateway_of(request).batches, batch_words.of_list(request, mount)
        wanted = BatchFilter(
            statuses=batch_words.read_status(words, status), cluster=base_of(request).cluster
        )
        if words is Words.ALCF:
            all_of_them = await batches.list(request.auth, Paging(limit=MOST_LISTED), wanted)
            return [alcf_batches.item(batch) for batch in all_of_them.items]
        page = await batches.list(request.auth, batch_paging(after=after, limit=limit), wanted)
        return list_object([batch_object(batch) for batch in page.items], has_more=page.has_more)

    return list_batches


def _retrieves(mount: Mount) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def retrieve_batch(request: GatewayRequest, batch_id: str) -> dict[str, Any]:
        """Return how one of your batches is: its status, its lines, and what it cost."""
        await enter(request)
        batch = await gateway_of(request).batches.get(request.auth, batch_id)
        return _shown(request, mount, batch)

    return retrieve_batch


def _cancels(mount: Mount) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def cancel_batch(request: GatewayRequest, batch_id: str) -> dict[str, Any]:
        """Begin no more lines of a batch; what is done stays and can be had."""
        await enter(request)
        batch = await gateway_of(request).batches.cancel(request.auth, batch_id)
        return _shown(request, mount, batch)

    return cancel_batch


async def result(request: GatewayRequest, batch_id: str) -> dict[str, Any]:
    """Return what a batch left, in ALCF's shape; of one that failed, the error that says why."""
    await enter(request)
    found = await gateway_of(request).batches.result(request.auth, batch_id)
    _note(request, found.batch)
    return alcf_batches.result(found)


def _shown(request: GatewayRequest, mount: Mount, batch: Batch) -> dict[str, Any]:
    _note(request, batch)
    words = batch_words.of_one(request, mount, by_path=batch.order.input_path is not None)
    return alcf_batches.one(batch) if words is Words.ALCF else batch_object(batch)


def _note(request: GatewayRequest, batch: Batch) -> None:
    """Put which batch it is into the request's line in the log."""
    request.log_fields["batch"] = batch.id
    if batch.order.model:
        request.log_fields["model"] = batch.order.model
