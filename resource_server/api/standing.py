"""How models and their instances stand, in the words of lists of models and of ALCF's jobs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from compute_functions.contract import Instance, InstanceState
from resource_server.domain.lifecycle import (
    ALCF_WORDS,
    LLAMA_CPP_WORDS,
    ModelState,
    model_state,
)
from resource_server.domain.prospect import Prospect
from resource_server.services.jobs import ClusterJobs

_BEST_FIRST = list(ModelState)


def standing(prospects: Collection[Prospect]) -> dict[str, Any]:
    """Return how a model stands at all its places together, and at each.

    `status` is what Open WebUI and others read, in llama.cpp's words. Nothing is said of a model of
    which nothing was ever seen.
    """
    known = [one for one in prospects if one.state is not None]
    places = {"places": [_place(one) for one in prospects]}
    if not known:
        return {"state": None, **places}
    return {**_best(min(known, key=_rank)), **_requests(prospects), **places}


def _best(one: Prospect) -> dict[str, Any]:
    """Return what the place that is furthest makes of the model."""
    state = one.state or ModelState.IDLE
    said: dict[str, Any] = {"state": state.value, "status": {"value": LLAMA_CPP_WORDS[state]}}
    if one.ready_in_s is not None and not one.never:
        said["estimated_wait_s"] = round(one.ready_in_s)
    return said


def _requests(prospects: Collection[Prospect]) -> dict[str, int]:
    return {
        "waiting_requests": sum(one.requests.waiting for one in prospects),
        "running_requests": sum(one.requests.running for one in prospects),
    }


def _rank(one: Prospect) -> tuple[int, float]:
    state = one.state or ModelState.DISABLED
    return _BEST_FIRST.index(state), float("inf") if one.ready_in_s is None else one.ready_in_s


def _place(one: Prospect) -> dict[str, Any]:
    said: dict[str, Any] = {
        **one.facts(),
        "framework": one.framework,
        "waiting_requests": one.requests.waiting,
        "running_requests": one.requests.running,
    }
    if one.gpu_percent is not None:
        said["gpu_utilization"] = _rounded(one.gpu_percent)
    if one.never:
        said["unavailable"] = one.never
    if one.observed_at is not None:
        said |= {"observed_at": one.observed_at, "silent": one.silent}
    return said


def job(jobs: ClusterJobs, instance: Instance) -> dict[str, Any]:
    """Return one instance with the keys, spaces included, that ALCF's tools read, and more."""
    said: dict[str, Any] = {
        "Models": instance.model,
        "Framework": instance.framework,
        "Cluster": jobs.cluster.name,
        "Model Status": instance.state.value,
        "Model State": ALCF_WORDS[model_state([instance])],
        "Job ID": instance.job_id,
        "Host Name": instance.host,
        "Job Comments": instance.detail,
        "Started At": _date(instance.started_at, jobs.ahead_s),
    }
    further = {
        "Nodes Reserved": 1 if instance.host else None,
        "GPUs": instance.gpus or None,
        "Walltime": _clock(instance.walltime_s),
        "Ends At": _date(instance.ends_at, jobs.ahead_s),
        "Stage": instance.stage.value if instance.stage else None,
        "Queue Position": None if instance.ahead is None else instance.ahead + 1,
        "Queue Reason": instance.reason or None,
        "Requests Running": instance.running,
        "Requests Waiting": instance.waiting,
        "GPU Utilization": _rounded(instance.gpu_percent),
        **_estimates(jobs, instance),
    }
    return said | {name: value for name, value in further.items() if value is not None}


def _estimates(jobs: ClusterJobs, instance: Instance) -> dict[str, str | None]:
    """Return when an instance that does not serve yet will begin to run, and to serve."""
    if instance.state not in (InstanceState.QUEUED, InstanceState.STARTING):
        return {}
    estimates = {"Estimated Ready Time": _date(instance.ready_at, jobs.ahead_s)}
    load_s = jobs.load_s(instance)
    if instance.state is InstanceState.QUEUED and instance.ready_at and load_s is not None:
        starts_at = _date(instance.ready_at - load_s, jobs.ahead_s)
        return {"Estimated Start Time": starts_at, **estimates}
    return estimates


def site(jobs: ClusterJobs) -> dict[str, Any]:
    """Return what is known of the cluster itself, and of each model that has no instance, too."""
    said: dict[str, Any] = {
        "cluster": jobs.cluster.name,
        "maintenance": jobs.cluster.maintenance,
        "observed_at": jobs.observed_at,
        "silent": jobs.silent,
        "agent": jobs.reach.value,
        "agent_in_trouble": jobs.in_trouble,
    }
    said["models"] = [
        {
            "Models": model,
            "Framework": one.framework,
            "Model State": ALCF_WORDS[one.state],
            "Requests Waiting": one.requests.waiting,
            "Requests Running": one.requests.running,
            "Estimated Wait": None if one.ready_in_s is None else round(one.ready_in_s),
            "Reason": one.reason,
            "Unavailable": one.never,
        }
        for model, one in jobs.prospects
        if one.state is not None
    ]
    return said


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 1)


def _clock(seconds: float | None) -> str | None:
    """Return a duration as schedulers write it."""
    if seconds is None:
        return None
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{left:02}"


def _date(at: float | None, ahead_s: float) -> str | None:
    """Return a time of the site by the gateway's clock."""
    if at is None:
        return None
    return datetime.fromtimestamp(at - ahead_s, UTC).isoformat(timespec="seconds")
