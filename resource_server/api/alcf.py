"""The routes that ALCF's users rely on beside the OpenAI ones, in their shapes."""

from __future__ import annotations

from typing import Any

from ninja import Router

from compute_functions.contract import InstanceState
from resource_server.api import standing
from resource_server.api.context import GatewayRequest, gateway_of
from resource_server.api.models import model_object
from resource_server.domain.catalog import AccessRule, NamedModel
from resource_server.domain.identity import Identity
from resource_server.domain.routing import Base
from resource_server.services.models import Offer

router = Router(tags=["Clusters"])

#: In which list of `/jobs` an instance stands.
JOB_LISTS = {
    InstanceState.READY: "running",
    InstanceState.DRAINING: "running",
    InstanceState.STARTING: "running",
    InstanceState.QUEUED: "queued",
    InstanceState.STOPPED: "stopped",
    InstanceState.FAILED: "stopped",
}
#: The same of one that is for batches alone.
BATCH_JOB_LISTS = JOB_LISTS | {
    InstanceState.READY: "private_batch_running",
    InstanceState.DRAINING: "private_batch_running",
    InstanceState.STARTING: "private_batch_running",
    InstanceState.QUEUED: "private_batch_queued",
}


@router.get("/whoami", summary="Who the token belongs to")
async def whoami(request: GatewayRequest) -> dict[str, Any]:
    """Return the caller's identities, login and groups, as the gateway sees them."""
    person = request.auth
    return {
        "id": person.primary.id,
        "name": person.name,
        "username": person.primary.username,
        "user_group_uuids": sorted(person.groups),
        "idp_id": person.primary.idp_id,
        "idp_name": person.primary.idp_name,
        "auth_service": "globus",
        "service_account": person.is_service_account,
        "identities": [_identity(identity) for identity in person.identities],
    }


@router.get("/list-endpoints", summary="All clusters, frameworks and models")
async def list_endpoints(request: GatewayRequest) -> dict[str, Any]:
    """Return everything that the caller may use."""
    clusters: dict[str, Any] = {}
    for offer in gateway_of(request).models.offers(request.auth):
        name = offer.cluster.name
        cluster = clusters.setdefault(
            name, {"base_url": f"/resource_server/{name}", "frameworks": {}}
        )
        if offer.models:
            cluster["frameworks"][offer.framework.name] = _framework(offer)
    return {"clusters": clusters}


@router.get("/status", auth=None, summary="Which clusters are in service")
async def status(request: GatewayRequest) -> dict[str, bool]:
    """Return for each cluster that is open to everyone whether it is not under maintenance."""
    clusters = gateway_of(request).catalog.current().clusters
    return {
        name: not cluster.maintenance
        for name, cluster in sorted(clusters.items())
        if cluster.access == AccessRule()
    }


@router.get("/{cluster}/models", summary="The models of a cluster")
async def models(
    request: GatewayRequest, cluster: str, model_id: str | None = None
) -> list[dict[str, Any]]:
    """Return the models that the caller may use there, or the one of `model_id`."""
    service = gateway_of(request).models
    found = service.at_cluster(request.auth, cluster)
    return [
        model_object(
            NamedModel(model=model),
            service.prospects(request.auth, Base(cluster=cluster, framework=framework.name), model),
        )
        | {"cluster": cluster, "framework": framework.name}
        for framework, model in found
        if model_id in (None, model.id)
    ]


@router.get("/{cluster}/jobs", summary="What runs on a cluster, and what waits")
async def jobs(request: GatewayRequest, cluster: str) -> dict[str, Any]:
    """Return the model instances of a cluster that concern the caller."""
    found = await gateway_of(request).jobs.at(request.auth, cluster)
    lists: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in (
            *("running", "queued", "stopped", "others"),
            *("private_batch_running", "private_batch_queued"),
        )
    }
    for instance in found.instances:
        lists[JOB_LISTS[instance.state]].append(standing.job(found, instance))
    for instance in found.for_batches:
        lists[BATCH_JOB_LISTS[instance.state]].append(standing.job(found, instance))
    return {**lists, "cluster_status": standing.site(found)}


def _identity(identity: Identity) -> dict[str, Any]:
    """Return one identity, and when it was used to log in for this token, if it was."""
    login = identity.authentication
    return {
        "username": identity.username,
        "idp_name": identity.idp_name,
        "logged_in_at": login.at if login else None,
    }


def _framework(offer: Offer) -> dict[str, Any]:
    routes = sorted({f"/v1/{route}" for model in offer.models for route in model.routes})
    return {
        "base_url": f"/resource_server/{offer.cluster.name}/{offer.framework.name}/v1",
        "models": [model.id for model in offer.models],
        "endpoints": routes,
    }
