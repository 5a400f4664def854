"""Every route that carries a request to an engine, below each base URL of the OpenAI API."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from ninja import Router

from resource_server.api import access_log, bases
from resource_server.api.answer import EngineResponse
from resource_server.api.bases import Mount, base_of
from resource_server.api.context import GatewayRequest, elapsed_s, gateway_of
from resource_server.api.event_stream import EventStreamResponse
from resource_server.api.exchange import Headers
from resource_server.api.form_body import FormBody
from resource_server.api.framework import DirectRouter
from resource_server.api.json_body import JsonBody
from resource_server.api.rate_limit_headers import rate_limit_headers
from resource_server.api.waiting_stream import WaitingStreamResponse
from resource_server.domain import errors
from resource_server.domain.inference import InferenceAnswer, StreamHead
from resource_server.ports import RequestBody
from resource_server.services.completions import (
    Completion,
    CompletionRequest,
    OpenCompletion,
    PendingCompletion,
)

#: A caller's trace, of which only the id is of interest here (W3C Trace Context).
_TRACE = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
#: The header in which callers say for how many seconds they wait for a model that is started.
WAIT = "HTTP_X_HOTNODE_WAIT"
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
#: Headers of the caller that go on to the engine: who continues a trace.
PASSED_ON = {"HTTP_TRACEPARENT": "traceparent", "HTTP_TRACESTATE": "tracestate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRoute:
    """One route: its path below `/v1/`, and the fields that its body must have."""

    path: str
    summary: str
    required: tuple[str, ...]
    form: bool = False


ROUTES = (
    InferenceRoute(
        path="chat/completions",
        summary="Create a chat completion",
        required=("model", "messages"),
    ),
    InferenceRoute(path="completions", summary="Create a completion", required=("model", "prompt")),
    InferenceRoute(path="embeddings", summary="Embed texts", required=("model", "input")),
    InferenceRoute(path="responses", summary="Create a response", required=("model", "input")),
    InferenceRoute(
        path="messages",
        summary="Create a message, as Anthropic's API does",
        required=("model", "messages", "max_tokens"),
    ),
    InferenceRoute(
        path="messages/count_tokens",
        summary="Count a message's tokens, as Anthropic's API does",
        required=("model", "messages"),
    ),
    InferenceRoute(
        path="rerank",
        summary="Order documents by their fit to a query",
        required=("model", "query", "documents"),
    ),
    InferenceRoute(path="score", summary="Score pairs of texts", required=("model",)),
    InferenceRoute(path="classify", summary="Classify texts", required=("model", "input")),
    InferenceRoute(path="tokenize", summary="Turn text into tokens", required=("model",)),
    InferenceRoute(
        path="detokenize", summary="Turn tokens into text", required=("model", "tokens")
    ),
    InferenceRoute(
        path="audio/transcriptions",
        summary="Write down speech",
        required=("model", "file"),
        form=True,
    ),
    InferenceRoute(
        path="audio/translations",
        summary="Write down speech in English",
        required=("model", "file"),
        form=True,
    ),
)
#: Ends of the paths that take files, which may be larger than other bodies.
UPLOADS = tuple(f"/v1/{route.path}" for route in ROUTES if route.form)


def make_router(mount: Mount) -> Router:
    """Return the routes for one base URL."""
    router = DirectRouter(tags=[f"OpenAI API {mount.description}"])
    for route in ROUTES:
        router.add_api_operation(
            f"/{route.path}",
            ["POST"],
            _view(route),
            summary=route.summary,
            description="Body and answer pass between caller and engine unchanged.",
            operation_id=f"{mount.name}_{route.path.replace('/', '_')}",
            openapi_extra=bases.parameters(*mount.parameters) | _described(route),
        )
    return router


def _described(route: InferenceRoute) -> dict[str, Any]:
    """Describe a body for OpenAPI: the fields that matter here; engines accept many more."""
    properties: dict[str, Any] = {"model": {"type": "string"}, "stream": {"type": "boolean"}}
    if route.form:
        properties["file"] = {"type": "string", "format": "binary"}
    schema = {
        "type": "object",
        "required": list(route.required),
        "properties": properties,
        "additionalProperties": True,
    }
    kind = "multipart/form-data" if route.form else "application/json"
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}


def _view(route: InferenceRoute) -> Callable[[GatewayRequest], Awaitable[HttpResponseBase]]:
    async def carry(request: GatewayRequest) -> HttpResponseBase:
        body = _read_body(request, route)
        base = base_of(request)
        access_log.note_question(request, base, body.model)
        asked = CompletionRequest(
            request_id=request.request_id,
            base=base,
            route=route.path,
            body=body,
            headers=_passed_on(request),
            wait_s=_wait_s(request),
        )
        completions = gateway_of(request).completions
        if not body.stream:
            return _whole(request, await completions.complete(request.auth, asked))
        answer = await completions.stream(request.auth, asked)
        if isinstance(answer, OpenCompletion):
            return _stream(request, answer)
        if isinstance(answer, PendingCompletion):
            return _pending(request, answer)
        return _whole(request, answer)

    return carry


def _read_body(request: GatewayRequest, route: InferenceRoute) -> RequestBody:
    if route.form:
        return FormBody(request.body, request.META.get("CONTENT_TYPE", ""))
    return JsonBody(request.body)


def _passed_on(request: GatewayRequest) -> dict[str, str]:
    headers = {"x-request-id": request.request_id}
    for name, header in PASSED_ON.items():
        value = request.META.get(name, "")
        # Sites refuse a request with anything else; a trace that is none is passed over (W3C).
        if value and value.isascii() and value.isprintable():
            headers[header] = value
    if request.observed is not None:
        headers |= request.observed.onward()
    if trace := _TRACE.fullmatch(headers.get("traceparent", "")):
        request.log_fields["trace_id"] = trace[1]
    return headers


def _whole(request: GatewayRequest, completion: Completion) -> HttpResponse:
    """Return the engine's answer unchanged; how it came here stands in headers."""
    answer = completion.answer
    # A wait for the model is nobody's work.
    gateway_s = answer.hops.beside(elapsed_s(request) - completion.waited_s)
    access_log.note_answer(request, completion, gateway_s=gateway_s)
    response = EngineResponse(answer.body, status=answer.status, content_type=answer.content_type)
    response.ours = [
        *_told(response, completion, answer),
        (b"Server-Timing", _server_timing(gateway_s, answer).encode("ascii")),
    ]
    return response


def _stream(request: GatewayRequest, stream: OpenCompletion) -> EventStreamResponse:
    """Return the engine's events as they come."""
    access_log.note_stream(request, stream)
    if request.observed is not None:
        request.observed.streams()
    response = EventStreamResponse(
        stream,
        note_first=partial(access_log.note_first_event, request),
        note_end=partial(access_log.note_stream_end, request, stream),
    )
    response.ours = _told(response, stream, stream.head)
    return response


def _pending(request: GatewayRequest, pending: PendingCompletion) -> WaitingStreamResponse:
    """Return how the model stands, and then the engine's events as they come."""
    request.log_fields["stream"] = True
    if request.observed is not None:
        request.observed.streams()
    response = WaitingStreamResponse(
        pending,
        note_open=partial(access_log.note_waited, request, pending),
        note_end=partial(access_log.note_waiting_end, request),
    )
    told = rate_limit_headers(pending.standings) | {"x-hotnode-waiting": "true"}
    response.ours = [
        (name.encode("ascii"), value.encode("latin-1")) for name, value in told.items()
    ]
    return response


def _wait_s(request: GatewayRequest) -> float | None:
    """Return for how long the caller wants to wait for a model; None if they do not say."""
    said = request.META.get(WAIT)
    if said is None:
        return None
    if not _SECONDS.fullmatch(said):
        raise errors.InvalidRequest("x-hotnode-wait must be a number of seconds; 0 does not wait.")
    return float(said)


def _told(
    response: HttpResponseBase,
    completion: Completion | OpenCompletion,
    answer: InferenceAnswer | StreamHead,
) -> Headers:
    """Put into headers what the engine said beside its answer; return ours on how it came."""
    for name, value in answer.headers.items():
        response.headers[name] = value
    told = rate_limit_headers(completion.standings)
    told["x-hotnode-cluster"] = completion.destination.cluster.name
    told["x-hotnode-transport"] = answer.transport
    if answer.task_id:
        told["x-hotnode-globus-task-id"] = answer.task_id
    return _encoded(told)


def _encoded(headers: Mapping[str, str]) -> Headers:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


def _server_timing(gateway_s: float, answer: InferenceAnswer) -> str:
    """Return where the time went, hop by hop in milliseconds (W3C Server Timing)."""
    hops = answer.hops
    return (
        f"gateway;dur={1000 * gateway_s:.1f}, "
        f"queue;dur={1000 * hops.queue_s:.1f}, "
        f"{answer.transport};dur={1000 * hops.transport_s:.1f}, "
        f"site;dur={1000 * hops.site_s:.1f}, "
        f"engine;dur={1000 * hops.engine_s:.1f}"
    )
