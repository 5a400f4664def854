"""Where model instances stand, what that makes of a model, and each dialect's word for it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, TypeVar

from compute_functions.contract import AgentReport, Instance, InstanceState, ModelOutlook

#: Where a model is served: cluster, framework and model.
Place: TypeAlias = tuple[str, str, str]
#: The same within one cluster: framework and model.
Post: TypeAlias = tuple[str, str]


class ModelState(StrEnum):
    """The state of a model: the best that any instance gives it, unless operators closed it."""

    READY = "ready"
    BUSY = "busy"
    STARTING = "starting"
    QUEUED = "queued"
    IDLE = "idle"
    MAINTENANCE = "maintenance"
    DISABLED = "disabled"

    @property
    def serves(self) -> bool:
        """Whether a request is answered now."""
        return self in (ModelState.READY, ModelState.BUSY)


#: ALCF's words, as its users see them (rows C-5 … C-8).
ALCF_WORDS = {
    ModelState.READY: "Live",
    ModelState.BUSY: "Live",
    ModelState.STARTING: "Starting",
    ModelState.QUEUED: "Queued",
    ModelState.IDLE: "Offline",
    ModelState.MAINTENANCE: "Offline",
    ModelState.DISABLED: "Offline",
}
#: llama.cpp's, which Open WebUI and others read in lists of models.
LLAMA_CPP_WORDS = {
    ModelState.READY: "loaded",
    ModelState.BUSY: "loaded",
    ModelState.STARTING: "loading",
    ModelState.QUEUED: "loading",
    ModelState.IDLE: "sleeping",
    ModelState.MAINTENANCE: "unloaded",
    ModelState.DISABLED: "unloaded",
}
#: LEXIS's (row L-13).
LEXIS_WORDS = {
    ModelState.READY: "ready",
    ModelState.BUSY: "busy",
    ModelState.STARTING: "loading",
    ModelState.QUEUED: "queued",
    ModelState.IDLE: "not_loaded",
    ModelState.MAINTENANCE: "not_loaded",
    ModelState.DISABLED: "not_loaded",
}
#: Aitta's (row A-14).
AITTA_WORDS = {state: "online" if state.serves else "offline" for state in ModelState}

_BEST_FIRST = (
    (InstanceState.READY, ModelState.READY),
    (InstanceState.STARTING, ModelState.STARTING),
    (InstanceState.QUEUED, ModelState.QUEUED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a site reported, and when (seconds since the epoch, the gateway's clock).

    Times in what it reported are by the site's clock, which is `ahead_s` before the gateway's.
    Instances and outlooks stand by framework and model: hundreds of requests may wait for one of
    them, and all look at each change. Both are of instances for callers; those that are for batches
    alone are `for_batches`, and no request is sent there.
    """

    observed_at: float
    instances: tuple[Instance, ...] = ()
    outlooks: tuple[ModelOutlook, ...] = ()
    agent: AgentReport | None = None
    ahead_s: float = 0.0
    for_batches: tuple[Instance, ...] = ()

    def __post_init__(self) -> None:
        """Sort what was reported."""
        object.__setattr__(self, "instances", tuple(sorted(self.instances, key=_post)))
        object.__setattr__(self, "outlooks", tuple(sorted(self.outlooks, key=_post)))


class Reach(StrEnum):
    """How a site's agent can be told what is wanted."""

    #: On its link, at once.
    LINKED = "linked"
    #: By Globus Compute tasks, now and then.
    BY_TASK = "by_task"
    #: Nobody has tried for long enough.
    UNKNOWN = "unknown"
    AWAY = "away"


#: How a site can be reached of which what it said last still counts.
SPEAKING = (Reach.LINKED, Reach.BY_TASK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """How many requests for a model at a cluster wait for an instance, and how many have one."""

    framework: str
    model: str
    waiting: int = 0
    running: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteView:
    """What the gateway knows of a site without asking it.

    `number` grows with every change that somebody may wait for. `ready` are the posts that take
    requests: a site that is heard says that an instance is ready there, or its relay is connected.
    """

    cluster: str
    number: int = 0
    reach: Reach = Reach.UNKNOWN
    observation: Observation | None = None
    ready: frozenset[Post] = frozenset()
    requests: tuple[Requests, ...] = field(default=())

    def requests_at(self, post: Post) -> Requests:
        """Return who wants a model there."""
        found = (one for one in self.requests if (one.framework, one.model) == post)
        return next(found, Requests(framework=post[0], model=post[1]))


def model_state(instances: Iterable[Instance]) -> ModelState:
    """Return the best state that any instance gives its model.

    It is busy if requests wait at every engine that is ready.
    """
    found = tuple(instances)
    ready = [instance for instance in found if instance.state is InstanceState.READY]
    if ready and all(instance.waiting for instance in ready):
        return ModelState.BUSY
    present = {instance.state for instance in found}
    return next((word for state, word in _BEST_FIRST if state in present), ModelState.IDLE)


def gpu_percent(instances: Iterable[Instance]) -> float | None:
    """Return how busy the GPUs of a model's instances are, as a mean; None where nobody knows."""
    known = [(one.gpu_percent, one.gpus or 1) for one in instances if one.gpu_percent is not None]
    gpus = sum(count for _, count in known)
    return sum(percent * count for percent, count in known) / gpus if known else None


def instances_at(observation: Observation | None, post: Post) -> Collection[Instance]:
    """Return the instances of a model, as last observed."""
    return _at(observation.instances, post) if observation else ()


def outlook_at(observation: Observation | None, post: Post) -> ModelOutlook | None:
    """Return what the site says of a model without an instance, as last observed."""
    return next(iter(_at(observation.outlooks, post)), None) if observation else None


_Reported = TypeVar("_Reported", Instance, ModelOutlook)


def _at(reported: Sequence[_Reported], post: Post) -> Sequence[_Reported]:
    """Return the part of something sorted that is about one model."""
    return reported[
        bisect_left(reported, post, key=_post) : bisect_right(reported, post, key=_post)
    ]


def _post(one: Instance | ModelOutlook) -> Post:
    return one.framework, one.model
