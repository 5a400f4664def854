"""Instances that are ready by their site's word, and that no request reaches.

An agent sees that an instance answers on its node. Whether a way leads there from outside shows
only when somebody asks: no relay is linked, and the task says that no instance is within its reach.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from compute_functions.contract import InstanceState
from resource_server.domain import errors
from resource_server.domain.lifecycle import Place, SiteView, instances_at
from resource_server.domain.prospect import Prospect
from resource_server.domain.routing import Destination
from resource_server.ports import SiteViews
from resource_server.services.carriage import Admitted

log = logging.getLogger(__name__)

T = TypeVar("T")

REASON = "no way leads to the instance"
_SENTENCE = "An instance is ready there, but no way leads to it. The operators must act."
#: A relay links a moment after its instance is ready: operators hear of it after so long (seconds).
SETTLES_S = 5.0
LOG_EVERY_S = 60.0
#: Who waits asks every few seconds. Without a refusal for so long nobody knows any more (seconds).
FORGOTTEN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Impasse:
    """Since when requests are refused there, and by which jobs' instances (the monotonic clock)."""

    jobs: frozenset[str]
    began_at: float
    last_at: float
    logged_at: float | None = None


class Impasses:
    """What requests of this process have met; after `longest_s` nobody waits there any more."""

    def __init__(
        self, *, longest_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest_s = longest_s
        self._clock = clock
        self._known: dict[Place, _Impasse] = {}

    def watched(
        self, ask: Callable[[Admitted, Destination], Awaitable[T]], views: SiteViews
    ) -> Callable[[Admitted, Destination], Awaitable[T]]:
        """Return the same question, of which it is noted whether it reached an instance."""

        async def watched(admitted: Admitted, destination: Destination) -> T:
            place = destination.cluster.name, destination.framework.name, admitted.named.model.id
            view = views.view(place[0])
            try:
                answer = await ask(admitted, destination)
            except errors.ModelNotRunning:
                if destination.upkeep is not None:
                    self.note(place, view)
                raise
            self.clear(place)
            return answer

        return watched

    def note(self, place: Place, view: SiteView) -> None:
        """Note that a place has refused a request, which the site as it was then should answer."""
        jobs, now = _ready_jobs(place, view), self._clock()
        if not jobs:
            return
        before = self._at(place, jobs)
        found = (
            _Impasse(jobs=jobs, began_at=now, last_at=now)
            if before is None
            else replace(before, last_at=now)
        )
        self._known[place] = self._said(place, found)

    def clear(self, place: Place) -> None:
        """Note that a request has reached an instance there."""
        before = self._known.pop(place, None)
        if before is not None and before.logged_at is not None:
            log.info("instance_reached_again", extra=_fields(place))

    def for_s(self, place: Place, view: SiteView) -> float | None:
        """Return for how long the instances that are ready now are not reached; None if they are.

        None also where nobody has tried of late.
        """
        found = self._at(place, _ready_jobs(place, view))
        return None if found is None else self._clock() - found.began_at

    def told(self, known: Prospect, model: str, view: SiteView) -> Prospect:
        """Return a prospect with what is known here, too."""
        lasted_s = self.for_s((known.cluster, known.framework, model), view)
        if lasted_s is None:
            return known
        never = _SENTENCE if lasted_s >= self._longest_s else ""
        return replace(known, reason=REASON, ready_in_s=None, never=known.never or never)

    def _at(self, place: Place, jobs: frozenset[str]) -> _Impasse | None:
        found = self._known.get(place)
        if found is None or found.jobs != jobs or self._clock() - found.last_at > FORGOTTEN_S:
            return None
        return found

    def _said(self, place: Place, found: _Impasse) -> _Impasse:
        """Write down that it lasts, now and then."""
        now = self._clock()
        since = found.logged_at
        due = now - found.began_at >= SETTLES_S if since is None else now - since >= LOG_EVERY_S
        if not due:
            return found
        lasted_s = round(now - found.began_at)
        shown = {**_fields(place), "jobs": sorted(found.jobs), "for_s": lasted_s}
        log.warning("instance_not_reached", extra=shown)
        return replace(found, logged_at=now)


def _ready_jobs(place: Place, view: SiteView) -> frozenset[str]:
    """Return the jobs whose instances are ready at a place, as its site says now."""
    post = place[1:]
    if post not in view.ready:
        return frozenset()
    found = instances_at(view.observation, post)
    return frozenset(one.job_id for one in found if one.state is InstanceState.READY)


def _fields(place: Place) -> dict[str, object]:
    cluster, framework, model = place
    return {"cluster": cluster, "framework": framework, "model": model}
