"""Speaks by task with sites that have no link: what is wanted there, what there is here.

Each exchange costs a request to Globus, of which an identity has few. So it takes place at once
when somebody begins to wait, soon again while anything is under way, and seldom otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from compute_functions.contract import DesiredState, Instance, InstanceState
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.lifecycle import Observation, Post
from resource_server.services.changes import ANY
from resource_server.services.site_board import SiteBoard

log = logging.getLogger(__name__)

#: Between two exchanges with a site at which something is wanted or under way (seconds).
BUSY_S = 5.0
#: What a site makes of news is to be seen so soon after it heard them (seconds): its agent has
#: looked by then, and its scheduler has answered.
SOON_S = 1.5
#: The same where nothing is.
IDLE_S = 30.0
#: Between two exchanges under one identity: with what else they cost, less than one request a
#: second (seconds).
TURN_S = 1.25
#: Between two looks at what is due (seconds).
SHORTEST_S = 0.05
_MOVING = (InstanceState.QUEUED, InstanceState.STARTING, InstanceState.DRAINING)


class AskedSites(Protocol):
    """Who can speak with a site by task."""

    async def exchange(self, cluster: Cluster) -> Observation:
        """Tell a site what is wanted, and return what it has; may raise an `UpstreamError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often sites are spoken with (seconds); see the constants."""

    soon_s: float = SOON_S
    busy_s: float = BUSY_S
    idle_s: float = IDLE_S
    turn_s: float = TURN_S

    def pause_s(self, observation: Observation | None, *, wanted: bool, news: bool) -> float:
        """Return when to speak again with a site that answered so, or did not answer."""
        if observation is None:
            return self.busy_s if wanted else self.idle_s
        if news:
            return self.soon_s
        moving = [one for one in observation.instances if one.state in _MOVING]
        if not (moving or wanted):
            return self.idle_s
        # Who waits hears of it when an instance is ready as it was foretold, and not a pause later.
        left_s = [_left_s(one, observation) for one in moving]
        foretold_s = [max(self.soon_s, one) for one in left_s if one > 0]
        return min([self.busy_s, *foretold_s])


def _left_s(one: Instance, observation: Observation) -> float:
    """Return in how many seconds an instance will be ready; 0 if nobody knows, or it is late."""
    if one.ready_at is None or one.state is InstanceState.DRAINING:
        return 0.0
    return one.ready_at - observation.ahead_s - observation.observed_at


class Exchanges:
    """Keeps to that pace, for all sites of a catalog without a link."""

    def __init__(
        self,
        board: SiteBoard,
        catalog: Callable[[], Catalog],
        sites: AskedSites,
        *,
        pace: Pace | None = None,
    ) -> None:
        self._board = board
        self._catalog = catalog
        self._sites = sites
        self._pace = pace or Pace()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._due: dict[str, float] = {}
        self._turns: dict[str, float] = {}
        self._told: dict[str, DesiredState | None] = {}
        #: The models of which each site was told that somebody waits, and has waited ever since.
        self._waited: dict[str, frozenset[Post]] = {}

    async def run(self) -> None:
        """Exchange for ever; whoever is spoken with now is left alone when this is cancelled."""
        try:
            while True:
                seen = self._board.wishes_changed.number(ANY)
                self._begin_those_due()
                # Requests that come and go make no more work than that.
                await asyncio.sleep(SHORTEST_S)
                await self._board.wishes_changed.after({ANY: seen}, within_s=self._next_s())
        finally:
            for task in self._under_way.values():
                task.cancel()
            if self._under_way:
                await asyncio.wait(set(self._under_way.values()))

    def _begin_those_due(self) -> None:
        now = asyncio.get_running_loop().time()
        for cluster in self._silent():
            name = cluster.name
            due = self._due.get(name, now) <= now or self._urgent(name)
            if due and name not in self._under_way:
                task = asyncio.create_task(self._exchange(cluster), name=f"exchange {name}")
                self._under_way[name] = task
                task.add_done_callback(lambda _, name=name: self._end(name))  # type: ignore[misc]

    def _end(self, name: str) -> None:
        task = self._under_way.pop(name)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("exchange_failed", exc_info=fault, extra={"cluster": name})
        # What has come up meanwhile is looked at now.
        self._board.wishes_changed.note(name)

    def _silent(self) -> Iterator[Cluster]:
        """Yield the sites that are to be told something, and that have no link but an endpoint."""
        for name, cluster in self._catalog().clusters.items():
            asks = cluster.globus_compute is not None and self._board.tells(name)
            if asks and not self._board.is_linked(name) and not cluster.maintenance:
                yield cluster

    def _urgent(self, name: str) -> bool:
        """Tell whether the site should hear at once of what it was not told yet."""
        waited_for = self._waited_for(name)
        # Who comes when all others were answered is news, also to a site that still counts those.
        known = self._waited[name] = self._waited.get(name, frozenset()) & waited_for
        if name not in self._told or self._told[name] != self._board.desired(name):
            return True
        return bool(waited_for - known)

    def _waited_for(self, name: str) -> frozenset[Post]:
        return frozenset(
            (one.framework, one.model) for one in self._board.demand_at(name).models if one.waiting
        )

    async def _exchange(self, cluster: Cluster) -> None:
        await self._turn(cluster)
        name = cluster.name
        if self._board.is_linked(name):
            # Its agent has dialled meanwhile, and hears of all this at once.
            return
        news = self._urgent(name)
        self._told[name] = self._board.desired(name)
        self._waited[name] = told = self._waited_for(name)
        observation = None
        try:
            observation = await self._sites.exchange(cluster)
        except errors.UpstreamError as error:
            log.warning("site_not_reached", extra={"cluster": name, "reason": error.message})
        # Those whom it was told of may have been answered by now, which it is to hear as well.
        wanted = bool(told or self._waited_for(name))
        pause_s = self._pace.pause_s(observation, wanted=wanted, news=news)
        self._due[name] = asyncio.get_running_loop().time() + pause_s

    async def _turn(self, cluster: Cluster) -> None:
        """Wait for the identity's next turn: those who come together go one after the other."""
        identity = cluster.globus_compute.client if cluster.globus_compute else ""
        now = asyncio.get_running_loop().time()
        at = max(now, self._turns.get(identity, now))
        self._turns[identity] = at + self._pace.turn_s
        await asyncio.sleep(at - now)

    def _next_s(self) -> float:
        """Return after how many seconds the next one is due; a catalog may bring new ones."""
        now = asyncio.get_running_loop().time()
        names = {cluster.name for cluster in self._silent()} - self._under_way.keys()
        dues = [self._due[name] - now for name in names if name in self._due]
        return min(max(SHORTEST_S, min(dues, default=self._pace.idle_s)), self._pace.idle_s)
