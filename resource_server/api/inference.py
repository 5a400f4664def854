"""Every route that carries a request to an engine, below each base URL of the OpenAI API."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from ninja import Router

from resource_server.api import bases
from resource_server.api.answer import EngineResponse
from resource_server.api.bases import Mount, base_of
from resource_server.api.context import GatewayRequest, elapsed_s, gateway_of
from resource_server.api.form_body import FormBody
from resource_server.api.json_body import JsonBody
from resource_server.api.rate_limit_headers import rate_limit_headers
from resource_server.domain.catalog import Catalog
from resource_server.domain.inference import Hops, InferenceAnswer
from resource_server.domain.routing import Base
from resource_server.ports import RequestBody
from resource_server.services.completions import Completion, CompletionRequest

#: A caller's trace, of which only the id is of interest here (W3C Trace Context).
_TRACE = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
#: What the log says of an answer with which an engine refused a request.
ENGINE_ERROR = "engine_error"
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
    router = Router(tags=[f"OpenAI API {mount.description}"])
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


def _view(route: InferenceRoute) -> Callable[[GatewayRequest], Awaitable[HttpResponse]]:
    async def carry(request: GatewayRequest) -> HttpResponse:
        body = _read_body(request, route)
        base = base_of(request)
        _log_the_question(request, base, body)
        completion = await gateway_of(request).completions.complete(
            request.auth,
            CompletionRequest(
                request_id=request.request_id,
                base=base,
                route=route.path,
                body=body,
                headers=_passed_on(request),
            ),
        )
        _log_the_answer(request, completion)
        return _response(request, completion)

    return carry


def _read_body(request: GatewayRequest, route: InferenceRoute) -> RequestBody:
    if route.form:
        return FormBody(request.body, request.META.get("CONTENT_TYPE", ""))
    return JsonBody(request.body)


def _passed_on(request: GatewayRequest) -> dict[str, str]:
    headers = {"x-request-id": request.request_id}
    for name, header in PASSED_ON.items():
        if value := request.META.get(name):
            headers[header] = value
    if request.observed is not None:
        headers |= request.observed.onward()
    if trace := _TRACE.fullmatch(headers.get("traceparent", "")):
        request.log_fields["trace_id"] = trace[1]
    return headers


def _log_the_question(request: GatewayRequest, base: Base, body: RequestBody) -> None:
    catalog = gateway_of(request).catalog.current()
    request.log_fields |= _known_places(catalog, base)
    found = catalog.named(body.model)
    if found is not None:
        # Only a name that is one: anything may stand there, a prompt too.
        request.log_fields["model"] = found.model.id
        if found.alias is not None:
            request.log_fields["alias"] = found.alias.name


def _known_places(catalog: Catalog, base: Base) -> dict[str, str]:
    """Return what the URL names and the catalog knows: anything may stand there."""
    places = {}
    cluster = catalog.clusters.get(base.cluster or "")
    if cluster is not None:
        places["cluster"] = cluster.name
        if framework := cluster.frameworks.get(base.framework or ""):
            places["framework"] = framework.name
    if project := catalog.projects.get(base.project or ""):
        places["project"] = project.name
    return places


def _log_the_answer(request: GatewayRequest, completion: Completion) -> None:
    answer, hops = completion.answer, completion.answer.hops
    request.log_fields |= {
        "cluster": completion.destination.cluster.name,
        "framework": completion.destination.framework.name,
        "transport": answer.transport,
        "gateway_ms": _ms(_in_the_gateway_s(elapsed_s(request), hops)),
        "queue_ms": _ms(hops.queue_s),
        "transport_ms": _ms(hops.transport_s),
        "site_ms": _ms(hops.site_s),
        "engine_ms": _ms(hops.engine_s),
    }
    if answer.status >= HTTPStatus.BAD_REQUEST:
        request.log_fields["error_code"] = ENGINE_ERROR
    if answer.task_id:
        request.log_fields["globus_task_id"] = answer.task_id
    if completion.usage is not None:
        request.log_fields |= completion.usage.numbers()


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _in_the_gateway_s(total_s: float, hops: Hops) -> float:
    """Return what is left of a request's time for the gateway itself."""
    return max(0.0, total_s - hops.queue_s - hops.transport_s - hops.site_s - hops.engine_s)


def _response(request: GatewayRequest, completion: Completion) -> HttpResponse:
    """Return the engine's answer unchanged; how it came here stands in headers."""
    answer = completion.answer
    response = EngineResponse(answer.body, status=answer.status, content_type=answer.content_type)
    for name, value in answer.headers.items():
        response[name] = value
    for name, value in rate_limit_headers(completion.standings).items():
        response[name] = value
    response["x-hotnode-cluster"] = completion.destination.cluster.name
    response["x-hotnode-transport"] = answer.transport
    if answer.task_id:
        response["x-hotnode-globus-task-id"] = answer.task_id
    response["Server-Timing"] = _server_timing(elapsed_s(request), answer)
    return response


def _server_timing(total_s: float, answer: InferenceAnswer) -> str:
    """Return where the time went, hop by hop in milliseconds (W3C Server Timing)."""
    hops = answer.hops
    parts = {
        "gateway": _in_the_gateway_s(total_s, hops),
        "queue": hops.queue_s,
        answer.transport: hops.transport_s,
        "site": hops.site_s,
        "engine": hops.engine_s,
    }
    return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in parts.items())
