"""Views of a site for tests of the reconciler: one model, its instances as the test says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from compute_functions.contract.instances import InstanceState, ModelOutlook
from compute_functions.contract.lifecycle import DesiredModel, DesiredState, ModelDemand
from compute_functions.drivers.driver import Capacity, JobState
from compute_functions.reconciler import (
    Cancel,
    Decision,
    Drain,
    Member,
    Memory,
    ModelKey,
    Policy,
    Registered,
    Submit,
    View,
    decide,
)

NOW = 1_000_000.0
KEY = ModelKey("m", "vllm")


def model(name: str = "m", **values: Any) -> DesiredModel:
    """Return a hot model of one GPU, for an hour, but for what is said."""
    usual: dict[str, Any] = {
        "model": name,
        "framework": "vllm",
        "min": 1,
        "max": 1,
        "gpus": 1,
        "walltime_s": 3600.0,
        "walltime_ratio": 0.9,
        "idle_timeout_s": 600.0,
    }
    return DesiredModel(**(usual | values))


def on_demand(name: str = "m", **values: Any) -> DesiredModel:
    """Return a model that nobody wants by itself."""
    return model(name, **({"min": 0} | values))


def demand(name: str = "m", **values: Any) -> ModelDemand:
    """Return the demand for a model."""
    return ModelDemand(model=name, framework="vllm", **values)


def pending(name: str, **values: Any) -> Member:
    """Return an instance in the queue since a minute ago, of the model before its name's dash."""
    usual: dict[str, Any] = {
        "instance": name,
        "model": name.partition("-")[0],
        "framework": "vllm",
        "job_id": f"job-{name}",
        "state": JobState.PENDING,
        "fence": 1,
        "gpus": 1,
        "walltime_s": 3600.0,
        "submitted_at": NOW - 10,
    }
    return Member(**(usual | values))


def running(name: str, age: float = 60.0, **values: Any) -> Member:
    """Return an instance whose job has run for so long and that has not registered."""
    walltime_s = values.get("walltime_s") or 3600.0
    usual: dict[str, Any] = {
        "state": JobState.RUNNING,
        "submitted_at": NOW - age - 1,
        "started_at": NOW - age,
        "ends_at": NOW - age + walltime_s,
        "nodes": (f"node-{name}",),
    }
    return pending(name, **(usual | values))


def starting(name: str, age: float = 60.0, **values: Any) -> Member:
    """Return an instance that loads."""
    said = Registered(state=InstanceState.STARTING, silent_s=1.0)
    return running(name, age, **({"registered": said} | values))


def ready(name: str, age: float = 600.0, *, said: dict[str, Any] | None = None, **values: Any):
    """Return an instance that serves since 20 s after its job began."""
    usual: dict[str, Any] = {"silent_s": 1.0, "ready_at": NOW - age + 20}
    registered = Registered(state=InstanceState.READY, **(usual | (said or {})))
    return running(name, age, **({"registered": registered} | values))


def view(models: Iterable[DesiredModel], *members: Member, **values: Any) -> View:
    """Return a site with these models and instances."""
    usual: dict[str, Any] = {
        "now": NOW,
        "fence": 1,
        "desired": DesiredState(generation=1, revision=1, models=tuple(models)),
        "policy": Policy(),
    }
    return View(members=members, **(usual | values))


def capacity(gpus: int, free: int) -> Capacity:
    """Return a partition."""
    return Capacity(gpus=gpus, free_gpus=free, nodes=("a", "b", "c"))


def later(seen: View, seconds: float, memory: Memory) -> View:
    """Return the same site so much later, as the agent that decided before sees it."""
    return replace(seen, now=seen.now + seconds, memory=memory)


def again(seen: View, *, times: int = 3, seconds: float = 1.0) -> Decision:
    """Return what is decided when the site stays as it is for a while."""
    found = decide(seen)
    for _ in range(times):
        seen = later(seen, seconds, found.memory)
        found = decide(seen)
    return found


def submits(decision: Decision) -> list[Submit]:
    """Return what is submitted."""
    return [one for one in decision.actions if isinstance(one, Submit)]


def drained(decision: Decision) -> list[str]:
    """Return who is drained."""
    return sorted(one.instance for one in decision.actions if isinstance(one, Drain))


def cancelled(decision: Decision) -> list[str]:
    """Return who is cancelled."""
    return sorted(one.instance for one in decision.actions if isinstance(one, Cancel))


def outlook(decision: Decision, name: str = "m") -> ModelOutlook:
    """Return what is told of a model."""
    return next(one for one in decision.outlooks if one.model == name)
