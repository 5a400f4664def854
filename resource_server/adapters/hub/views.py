"""A web process's view of all sites, which its hub keeps up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Self

import aiohttp
import structlog

from resource_server.adapters.hub import messages
from resource_server.adapters.hub.connection import HubConnection
from resource_server.domain.lifecycle import SPEAKING, Place, Reach, SiteView
from resource_server.services.changes import Changes
from resource_server.services.supervision import forever
from resource_server.services.waiters import WaiterCounts

log = structlog.get_logger()

#: A hub that restarts is back soon (seconds).
AGAIN_AFTER_S = 0.5


class HubViews:
    """A `ports.SiteViews` inside an `async with` block.

    While the hub is away nothing is known of how sites can be reached; who waits goes on waiting,
    and the next hub learns of it.
    """

    def __init__(self, connection: HubConnection, *, again_after_s: float = AGAIN_AFTER_S) -> None:
        self._connection = connection
        self._again_after_s = again_after_s
        self._views: dict[str, SiteView] = {}
        #: The hub's own number of each view.
        self._theirs: dict[str, int] = {}
        self._changes = Changes()
        self._waiters = WaiterCounts(lambda _: self._counted.set())
        self._counted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(forever("hub-views", self._watch), name="hub-views")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def view(self, cluster: str) -> SiteView:
        """Return what is known of a site now."""
        return self._views.get(cluster) or SiteView(
            cluster=cluster, number=self._changes.number(cluster)
        )

    def serves(self, place: Place) -> bool | None:
        """Tell whether a model takes requests at a place; None if nobody knows."""
        cluster, framework, model = place
        view = self._views.get(cluster)
        if view is None:
            return None
        if (framework, model) in view.ready:
            return True
        return None if view.observation is None or view.reach not in SPEAKING else False

    async def changed(self, views: Collection[SiteView], *, within_s: float) -> bool:
        """Wait for a change of any of these; see the port."""
        return await self._changes.after(
            {view.cluster: view.number for view in views}, within_s=within_s
        )

    def waiting(self, place: Place) -> AbstractContextManager[None]:
        """Count a request as waiting during the block."""
        return self._waiters.waiting(place)

    async def _watch(self) -> None:
        """Watch as long as the connection lasts."""
        try:
            socket = await self._connection.watch()
        except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError too
            # Said once: this goes on for as long as the hub is away.
            if not self._away:
                log.warning("hub_not_watched", reason=str(error))
            self._away = True
            await asyncio.sleep(self._again_after_s)
            return
        self._away = False
        self._waiters.begin_anew()
        self._counted.set()
        telling = asyncio.create_task(self._tell(socket), name="hub-waiters")
        try:
            await self._listen(socket)
        finally:
            telling.cancel()
            await asyncio.wait({telling})
            await socket.close()
            self._lose()
        await asyncio.sleep(self._again_after_s)

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for said in socket:
            if said.type is aiohttp.WSMsgType.BINARY:
                for view in messages.read_views(said.data).views:
                    self._take(view)

    async def _tell(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Say who waits, at once whenever that changes."""
        try:
            while True:
                await self._counted.wait()
                self._counted.clear()
                waiting = messages.Waiting(counts=tuple(self._waiters.counts.items()))
                await socket.send_bytes(messages.encode_watch(waiting))
        except (ConnectionError, aiohttp.ClientError):
            # The connection is lost, which the listener notices too.
            await socket.close()

    def _take(self, view: SiteView) -> None:
        """Know a site as the hub does; its numbers begin anew with each hub, and ours do not."""
        if self._theirs.get(view.cluster) != view.number:
            self._theirs[view.cluster] = view.number
            self._changes.note(view.cluster)
        self._views[view.cluster] = replace(view, number=self._changes.number(view.cluster))

    def _lose(self) -> None:
        """Know no more how sites can be reached."""
        self._theirs.clear()
        for name, view in self._views.items():
            self._changes.note(name)
            number = self._changes.number(name)
            self._views[name] = replace(view, reach=Reach.UNKNOWN, ready=frozenset(), number=number)
