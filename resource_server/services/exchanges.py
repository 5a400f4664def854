"""Speaks by task with sites that have no link: what is wanted there, what there is here.

Each exchange costs a request to Globus, of which an identity has few. So it takes place at once
when somebody begins to wait, soon again while anything is under way, and seldom otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from compute_functions.contract import Demand, DesiredState, InstanceState
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.lifecycle import Observation
from resource_server.services.changes import ANY
from resource_server.services.site_board import SiteBoard

log = logging.getLogger(__name__)

#: Between two exchanges with a site at which something is wanted or under way (seconds).
BUSY_S = 5.0
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


class Exchanges:
    """Keeps to that pace, for all sites of a catalog without a link."""

    def __init__(
        self,
        board: SiteBoard,
        catalog: Callable[[], Catalog],
        sites: AskedSites,
        *,
        busy_s: float = BUSY_S,
        idle_s: float = IDLE_S,
        turn_s: float = TURN_S,
    ) -> None:
        self._board = board
        self._catalog = catalog
        self._sites = sites
        self._busy_s = busy_s
        self._idle_s = idle_s
        self._turn_s = turn_s
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._due: dict[str, float] = {}
        self._turns: dict[str, float] = {}
        self._told: dict[str, tuple[DesiredState | None, Demand]] = {}

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
        """Yield the sites that keep models for us, and that have no link but an endpoint."""
        for name, cluster in self._catalog().clusters.items():
            asks = cluster.globus_compute is not None and self._board.manages(name)
            if asks and not self._board.is_linked(name) and not cluster.maintenance:
                yield cluster

    def _urgent(self, name: str) -> bool:
        """Tell whether the site should hear at once of what it was not told yet."""
        told = self._told.get(name)
        if told is None:
            return True
        desired, demand = told
        if desired != self._board.desired(name):
            return True
        before = {(one.framework, one.model) for one in demand.models if one.waiting}
        return any(
            one.waiting and (one.framework, one.model) not in before
            for one in self._board.demand_at(name).models
        )

    async def _exchange(self, cluster: Cluster) -> None:
        await self._turn(cluster)
        name = cluster.name
        if self._board.is_linked(name):
            # Its agent has dialled meanwhile, and hears of all this at once.
            return
        self._told[name] = (self._board.desired(name), self._board.demand_at(name))
        busy = False
        try:
            observation = await self._sites.exchange(cluster)
        except errors.UpstreamError as error:
            log.warning("site_not_reached", extra={"cluster": name, "reason": error.message})
        else:
            busy = any(one.state in _MOVING for one in observation.instances)
        wanted = any(one.waiting for one in self._board.demand_at(name).models)
        pause_s = self._busy_s if busy or wanted else self._idle_s
        self._due[name] = asyncio.get_running_loop().time() + pause_s

    async def _turn(self, cluster: Cluster) -> None:
        """Wait for the identity's next turn: those who come together go one after the other."""
        identity = cluster.globus_compute.client if cluster.globus_compute else ""
        now = asyncio.get_running_loop().time()
        at = max(now, self._turns.get(identity, now))
        self._turns[identity] = at + self._turn_s
        await asyncio.sleep(at - now)

    def _next_s(self) -> float:
        """Return after how many seconds the next one is due; a catalog may bring new ones."""
        now = asyncio.get_running_loop().time()
        names = {cluster.name for cluster in self._silent()} - self._under_way.keys()
        dues = [self._due[name] - now for name in names if name in self._due]
        return min(max(SHORTEST_S, min(dues, default=self._idle_s)), self._idle_s)
