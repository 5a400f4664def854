"""The routes that ALCF's users rely on beside the OpenAI ones, in their shapes."""

from __future__ import annotations

from typing import Any

from ninja import Router

from compute_functions.contract import Instance, InstanceState
from resource_server.api.context import GatewayRequest, gateway_of
from resource_server.domain.lifecycle import ALCF_WORDS, model_state
from resource_server.services.jobs import ClusterJobs
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


@router.get("/whoami", summary="Who the token belongs to")
async def whoami(request: GatewayRequest) -> dict[str, Any]:
    """Return the caller's identity and groups, as the gateway sees them."""
    person = request.auth
    return {
        "id": person.primary.id,
        "name": person.name,
        "username": person.primary.username,
        "user_group_uuids": sorted(person.groups),
        "idp_id": person.primary.idp_id,
        "idp_name": person.primary.idp_name,
        "auth_service": "globus",
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
        cluster["frameworks"][offer.framework.name] = _framework(offer)
    return {"clusters": clusters}


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
        lists[JOB_LISTS[instance.state]].append(_job(found, instance))
    status = {
        "cluster": found.cluster.name,
        "maintenance": found.cluster.maintenance,
        "observed_at": found.observed_at,
    }
    return {**lists, "cluster_status": status}


def _framework(offer: Offer) -> dict[str, Any]:
    routes = sorted({f"/v1/{route}" for model in offer.models for route in model.routes})
    return {"models": [model.id for model in offer.models], "endpoints": routes}


def _job(jobs_: ClusterJobs, instance: Instance) -> dict[str, Any]:
    """Return one instance with the keys, spaces included, that ALCF's tools read."""
    return {
        "Models": instance.model,
        "Framework": instance.framework,
        "Cluster": jobs_.cluster.name,
        "Model Status": instance.state.value,
        "Model State": ALCF_WORDS[model_state([instance])],
        "Job ID": instance.job_id,
        "Host Name": instance.host,
        "Job Comments": instance.detail,
        "Started At": instance.started_at,
    }
