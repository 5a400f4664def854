"""The OpenAI API under `/resource_server/{cluster}/{framework}/v1`."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from ninja import Router

from resource_server.api.answer import EngineResponse
from resource_server.api.context import GatewayRequest, elapsed_s, gateway_of
from resource_server.api.control import read_control
from resource_server.domain.catalog import Model
from resource_server.domain.inference import InferenceAnswer
from resource_server.services.completions import CompletionRequest

router = Router(tags=["OpenAI"])

BASE = "/{cluster}/{framework}/v1"


def _body(*required: str) -> dict[str, Any]:
    """Describe a body for OpenAPI: the fields that matter here; engines accept many more."""
    schema = {
        "type": "object",
        "required": list(required),
        "properties": {"model": {"type": "string"}, "stream": {"type": "boolean"}},
        "additionalProperties": True,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post(
    f"{BASE}/chat/completions",
    openapi_extra=_body("model", "messages"),
    summary="Create a chat completion",
)
async def chat_completions(request: GatewayRequest, cluster: str, framework: str) -> HttpResponse:
    """Answer a conversation. Body and answer pass between caller and engine unchanged."""
    return await _complete(request, (cluster, framework), "chat/completions")


@router.post(
    f"{BASE}/completions", openapi_extra=_body("model", "prompt"), summary="Create a completion"
)
async def completions(request: GatewayRequest, cluster: str, framework: str) -> HttpResponse:
    """Continue a text. Body and answer pass between caller and engine unchanged."""
    return await _complete(request, (cluster, framework), "completions")


@router.get(f"{BASE}/models", summary="List the models at this base URL")
async def list_models(request: GatewayRequest, cluster: str, framework: str) -> dict[str, Any]:
    """Return the models that the caller may use here."""
    models = gateway_of(request).models.at(request.auth, cluster, framework)
    return {"object": "list", "data": [model_object(model) for model in models]}


@router.get(f"{BASE}/models/{{path:model_id}}", summary="Describe one model")
async def retrieve_model(
    request: GatewayRequest, cluster: str, framework: str, model_id: str
) -> dict[str, Any]:
    """Return one model. An id may hold a slash, sent as such or as `%2F`."""
    return model_object(gateway_of(request).models.one(request.auth, cluster, framework, model_id))


def model_object(model: Model) -> dict[str, Any]:
    """Return a model as OpenAI's clients read it, with what else is known of it."""
    known = {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "description": model.description,
        "flags": sorted(model.flags),
    }
    if model.context_length is not None:
        # Two names for one number: engines say the first, editors and agents read the second.
        known |= {"max_model_len": model.context_length, "context_length": model.context_length}
    return known


async def _complete(request: GatewayRequest, at: tuple[str, str], route: str) -> HttpResponse:
    cluster, framework = at
    control = read_control(request.body)
    request.log_fields |= {"cluster": cluster, "framework": framework}
    if control.model in gateway_of(request).catalog.current().models:
        # Only a name that is one: anything may stand there, a prompt too.
        request.log_fields["model"] = control.model
    answer = await gateway_of(request).completions.complete(
        request.auth,
        CompletionRequest(
            request_id=request.request_id,
            cluster=cluster,
            framework=framework,
            route=route,
            model=control.model,
            stream=control.stream,
            fields=control.fields,
            body=request.body,
            headers={"x-request-id": request.request_id},
        ),
    )
    return _answer_response(request, answer)


def _answer_response(request: GatewayRequest, answer: InferenceAnswer) -> HttpResponse:
    """Return the engine's answer unchanged; how it came here stands in headers."""
    response = EngineResponse(answer.body, status=answer.status, content_type=answer.content_type)
    for name, value in answer.headers.items():
        response[name] = value
    response["x-hotnode-transport"] = answer.transport
    if answer.task_id:
        response["x-hotnode-globus-task-id"] = answer.task_id
        request.log_fields["globus_task_id"] = answer.task_id
    response["Server-Timing"] = _server_timing(elapsed_s(request), answer)
    return response


def _server_timing(total_s: float, answer: InferenceAnswer) -> str:
    """Return where the time went, hop by hop in milliseconds (W3C Server Timing)."""
    hops = answer.hops
    beyond = hops.queue_s + hops.transport_s + hops.site_s + hops.engine_s
    parts = {
        "gateway": max(0.0, total_s - beyond),
        "queue": hops.queue_s,
        answer.transport: hops.transport_s,
        "site": hops.site_s,
        "engine": hops.engine_s,
    }
    return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in parts.items())
