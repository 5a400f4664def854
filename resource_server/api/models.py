"""Which models there are at a base URL: OpenAI's list, with what else clients read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ninja import Router

from resource_server.api import bases
from resource_server.api.bases import Mount, base_of
from resource_server.api.context import GatewayRequest, gateway_of
from resource_server.api.standing import standing
from resource_server.domain.catalog import NamedModel
from resource_server.domain.prospect import Prospect
from resource_server.domain.routing import Base


def make_router(mount: Mount) -> Router:
    """Return the routes for one base URL."""
    router = Router(tags=[f"OpenAI API {mount.description}"])
    router.add_api_operation(
        "/models",
        ["GET"],
        list_models,
        summary="List the models at this base URL",
        operation_id=f"{mount.name}_models",
        openapi_extra=bases.parameters(*mount.parameters),
    )
    router.add_api_operation(
        "/models/{path:name}",
        ["GET"],
        retrieve_model,
        summary="Describe one model",
        operation_id=f"{mount.name}_model",
        openapi_extra=bases.parameters(*mount.parameters, "name"),
    )
    return router


async def list_models(request: GatewayRequest) -> dict[str, Any]:
    """Return the models that the caller may use here, under all their names."""
    service, base = gateway_of(request).models, base_of(request)
    return {
        "object": "list",
        "data": [
            model_object(named, service.prospects(request.auth, base, named.model))
            for named in service.at(request.auth, base)
        ],
    }


async def retrieve_model(request: GatewayRequest, name: str) -> dict[str, Any]:
    """Return one model. A name may hold a slash, sent as such or as `%2F`."""
    service, base = gateway_of(request).models, base_of(request)
    named = service.one(request.auth, base, name)
    # A framework of the URL need not be the one that serves it.
    place = Base(cluster=base.cluster, project=base.project)
    return model_object(named, service.prospects(request.auth, place, named.model))


def model_object(named: NamedModel, prospects: Collection[Prospect]) -> dict[str, Any]:
    """Return a model as OpenAI's clients read it, with what else is known of it.

    `root` is the id of the model behind an alias, as with vLLM.
    """
    model, alias = named.model, named.alias
    known: dict[str, Any] = {
        "id": named.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "root": model.id,
        "description": (alias.description if alias else "") or model.description,
        "flags": sorted(model.flags),
        "endpoints": [f"/v1/{route}" for route in model.routes],
        "input_modalities": ["text", *sorted(model.modalities)],
        **standing(prospects),
    }
    if model.context_length is not None:
        # Two names for one number: engines say the first, editors and agents read the second.
        known |= {"max_model_len": model.context_length, "context_length": model.context_length}
    if model.recommended:
        known["recommended_parameters"] = dict(model.recommended)
    if alias and alias.parameters:
        known["default_parameters"] = dict(alias.parameters)
    return known
