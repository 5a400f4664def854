"""When a model will serve at a place: its state, its place in the queue, an estimate; or why never.

Pure: from what is known, without asking anybody.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from compute_functions.contract import Instance, InstanceState, ModelOutlook
from resource_server.domain.catalog import Catalog, Cluster, Deployment
from resource_server.domain.desired import desired_model, override_of
from resource_server.domain.lifecycle import (
    ModelState,
    Observation,
    Post,
    Reach,
    Requests,
    SiteView,
    gpu_percent,
    instances_at,
    model_state,
    outlook_at,
)

#: A site that has a link, or that is asked by task, speaks more often (seconds).
SILENT_AFTER_S = 75.0
_OUT_OF_SERVICE = "The operators have taken the model out of service there."
_UNREACHABLE = "Its site cannot be reached now, so that nobody can start the model there."
_UNDER_WAY = (InstanceState.QUEUED, InstanceState.STARTING, InstanceState.READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What is known of a model at a place. `state` is None where nothing was ever seen.

    `stage` is how far an instance that starts has come, `ahead` how many jobs are before its own,
    `reason` why the scheduler lets it wait, or why nothing is started. `ready_in_s` is an estimate,
    None where nobody can say.
    `never` is why no instance will come; nothing if one may. With `final` that stays so until an
    operator acts. `silent` tells that the site has not spoken for longer than it should, and
    `gpu_percent` how busy the GPUs of its instances are.
    """

    cluster: str
    framework: str
    state: ModelState | None
    requests: Requests
    stage: str = ""
    ahead: int | None = None
    reason: str = ""
    ready_in_s: float | None = None
    never: str = ""
    final: bool = False
    observed_at: float | None = None
    silent: bool = False
    gpu_percent: float | None = None

    def facts(self) -> dict[str, str | int | float]:
        """Return what is known, by the names under which callers see it."""
        known: dict[str, str | int | float | None] = {
            "cluster": self.cluster,
            "state": self.state.value if self.state else "unknown",
            "stage": self.stage or None,
            "queue_position": None if self.ahead is None else self.ahead + 1,
            "reason": self.reason or None,
            "estimated_wait_s": None if self.ready_in_s is None else round(self.ready_in_s),
        }
        return {name: value for name, value in known.items() if value is not None}

    @property
    def shown(self) -> tuple[object, ...]:
        """What is worth another word to who waits."""
        return (self.cluster, self.state, self.stage, self.ahead, self.reason, self.never)


def prospect(
    catalog: Catalog, model: str, place: Deployment, view: SiteView, *, now: float
) -> Prospect:
    """Return what is known of a model at one of its places; `now` is seconds since the epoch."""
    cluster = catalog.clusters[place.cluster]
    post = (place.framework, model)
    found = instances_at(view.observation, post)
    leading = _leading(found)
    outlook = outlook_at(view.observation, post)
    forbidden = _forbidden(catalog, model, place, outlook)
    observed_at = view.observation.observed_at if view.observation else None
    return Prospect(
        cluster=cluster.name,
        framework=place.framework,
        state=_state(cluster, found, view, post=post, disabled=is_disabled(catalog, model, place)),
        requests=view.requests_at(post),
        stage=leading.stage.value if leading and leading.stage else "",
        ahead=leading.ahead if leading else None,
        reason=_reason(leading, outlook),
        ready_in_s=_ready_in_s(leading, outlook, view.observation, now=now),
        never=forbidden or _unreachable(place, view, post, leading),
        final=bool(forbidden),
        observed_at=observed_at,
        silent=observed_at is not None and now - observed_at > SILENT_AFTER_S,
        gpu_percent=gpu_percent(found),
    )


def _state(
    cluster: Cluster,
    found: Collection[Instance],
    view: SiteView,
    *,
    post: Post,
    disabled: bool,
) -> ModelState | None:
    if cluster.maintenance:
        return ModelState.MAINTENANCE
    if disabled:
        return ModelState.DISABLED
    derived = model_state(found)
    if post in view.ready and not derived.serves:
        return ModelState.READY
    return None if view.observation is None else derived


def is_disabled(catalog: Catalog, model: str, place: Deployment) -> bool:
    """Tell whether operators let nobody have the model there."""
    if place.upkeep is None:
        return False
    said = override_of(catalog, model, place.cluster)
    return desired_model(model, place.framework, place.upkeep, said).max == 0


def _forbidden(
    catalog: Catalog, model: str, place: Deployment, outlook: ModelOutlook | None
) -> str:
    """Return what keeps instances from coming until an operator acts."""
    cluster = catalog.clusters[place.cluster]
    if cluster.maintenance:
        return f"The cluster is under maintenance: {cluster.maintenance}"
    if is_disabled(catalog, model, place):
        return _OUT_OF_SERVICE
    if outlook is not None and outlook.refused:
        return f"The cluster does not run it: {outlook.refused}"
    return ""


def _unreachable(place: Deployment, view: SiteView, post: Post, leading: Instance | None) -> str:
    """Return why nobody can have an instance started: its site cannot be told."""
    is_served = leading is not None or post in view.ready
    if place.upkeep is None or view.reach is not Reach.AWAY or is_served:
        return ""
    return _UNREACHABLE


def _reason(leading: Instance | None, outlook: ModelOutlook | None) -> str:
    """Return why the model must wait: in the scheduler's words, or the site's."""
    if leading is not None:
        return leading.reason
    return outlook.waits if outlook else ""


def _leading(found: Collection[Instance]) -> Instance | None:
    """Return the instance that serves, or will serve first."""
    coming = [one for one in found if one.state in _UNDER_WAY]
    if not coming:
        return None

    def rank(one: Instance) -> tuple[int, float]:
        return -_UNDER_WAY.index(one.state), math.inf if one.ready_at is None else one.ready_at

    return min(coming, key=rank)


def _ready_in_s(
    leading: Instance | None,
    outlook: ModelOutlook | None,
    observation: Observation | None,
    *,
    now: float,
) -> float | None:
    """Return in how many seconds the model will serve, as far as the site can tell."""
    if leading is None or observation is None:
        # While its site has a reason to start none, what a start takes says nothing.
        return None if outlook and outlook.waits else _from_nothing_s(outlook)
    if leading.state is InstanceState.READY:
        return 0.0
    if leading.ready_at is not None:
        return max(0.0, leading.ready_at - observation.ahead_s - now)
    since, whole_s = _under_way_s(leading, outlook)
    if whole_s is None or since is None:
        return whole_s
    return max(0.0, since + whole_s - observation.ahead_s - now)


def _under_way_s(
    leading: Instance, outlook: ModelOutlook | None
) -> tuple[float | None, float | None]:
    """Return since when an instance is on its way, and how long that takes from then on."""
    if leading.state is InstanceState.STARTING:
        return leading.started_at, outlook.load_s if outlook else None
    return leading.submitted_at, _from_nothing_s(outlook)


def _from_nothing_s(outlook: ModelOutlook | None) -> float | None:
    """Return how long a cold start takes."""
    if outlook is None or outlook.load_s is None:
        return None
    return (outlook.queue_s or 0.0) + outlook.load_s
