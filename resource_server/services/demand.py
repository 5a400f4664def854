"""Who wants which model where: counted from the requests that pass through, and those that wait."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from compute_functions.contract import ModelDemand
from resource_server.domain.lifecycle import Place, Post, Requests
from resource_server.services.changes import Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiters:
    """How many requests of one process wait for a model, and how many ever began to."""

    waiting: int = 0
    asked: int = 0


@dataclass(slots=True)
class _Count:
    """The demand for one model at one cluster; `used_at` by the monotonic clock."""

    waiting: int = 0
    running: int = 0
    used_at: float | None = None


class DemandBook:
    """The demand that one hub sees.

    `changes` notes a cluster where a count rises from nothing or falls to it, and where somebody
    asked for a model without waiting for it.
    """

    def __init__(self, changes: Changes, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.changes = changes
        self._clock = clock
        self._counts: defaultdict[str, dict[Post, _Count]] = defaultdict(dict)
        self._told: dict[Hashable, Mapping[Place, Waiters]] = {}

    def began(self, place: Place) -> None:
        """Count a request as running."""
        count = self._count(place)
        count.running += 1
        if count.running == 1:
            self.changes.note(place[0])

    def ended(self, place: Place, *, used: bool = True) -> None:
        """Count it as running no more; it was no use of the model if no instance took it."""
        count = self._count(place)
        count.running -= 1
        if used:
            count.used_at = self._clock()
        if count.running == 0:
            self.changes.note(place[0])

    def tell(self, source: Hashable, waiters: Mapping[Place, Waiters]) -> None:
        """Take what one process says of its waiting requests; what it leaves out, nobody wants."""
        before = self._told.get(source, {})
        self._told[source] = dict(waiters)
        for place in before.keys() | waiters.keys():
            old, new = before.get(place, Waiters()), waiters.get(place, Waiters())
            if old == new:
                continue
            count = self._count(place)
            nobody = count.waiting == 0
            count.waiting += new.waiting - old.waiting
            if new.asked > old.asked:
                count.used_at = self._clock()
            if nobody or count.waiting == 0:
                self.changes.note(place[0])

    def forget(self, source: Hashable) -> None:
        """Count the requests of a process that is gone no more."""
        self.tell(source, {})
        del self._told[source]

    def of(self, cluster: str) -> tuple[Requests, ...]:
        """Return who wants what at a cluster, without what nobody wants."""
        return tuple(
            Requests(framework=framework, model=model, waiting=count.waiting, running=count.running)
            for (framework, model), count in sorted(self._counts[cluster].items())
            if count.waiting or count.running
        )

    def for_site(self, cluster: str, posts: Mapping[Post, float | None]) -> tuple[ModelDemand, ...]:
        """Return the demand for these models, in the site's words.

        With each stands for how many seconds nobody has asked for it otherwise, None for ever.
        """
        counts = self._counts[cluster]
        return tuple(
            self._for_site(post, counts.get(post, _Count()), otherwise)
            for post, otherwise in posts.items()
        )

    def _for_site(self, post: Post, count: _Count, otherwise: float | None) -> ModelDemand:
        uses = [] if otherwise is None else [otherwise]
        if count.used_at is not None:
            uses.append(max(0.0, self._clock() - count.used_at))
        if count.running:
            uses.append(0.0)
        return ModelDemand(
            framework=post[0],
            model=post[1],
            waiting=count.waiting,
            running=count.running,
            used_s=min(uses, default=None),
        )

    def _count(self, place: Place) -> _Count:
        cluster, framework, model = place
        return self._counts[cluster].setdefault((framework, model), _Count())
