"""What runs at each cluster, as its site says; asked at most every few seconds."""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from dataclasses import dataclass

from compute_functions.contract import PROTOCOL_VERSION, Wishes
from resource_server.adapters.globus_compute import replies
from resource_server.adapters.globus_compute.backend import GlobusComputeBackend
from resource_server.adapters.globus_compute.payload import Payload, packed_json
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.lifecycle import Observation
from resource_server.services.site_board import SiteBoard

#: The registered functions: every site has the first, those with an agent the second as well.
STATUS = "site_status"
ENSURE = "ensure_site_agent"
#: How long a caller waits for a site at most (seconds).
TIMEOUT_S = 30.0
#: How long an observation serves everybody who asks (seconds).
CACHE_S = 5.0
#: A site that did not answer is left alone for so long (seconds).
FAILED_FOR_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The last answer or failure of a site, and until when it serves (the event loop's clock)."""

    until: float
    observation: Observation | None = None
    failure: errors.UpstreamError | None = None


class GlobusComputeSites:
    """Observes sites through functions, over the channels of a backend.

    A site whose models we keep, or that has not heard yet that we keep none any more, and that has
    the function for it, is told what is wanted at the same time, and starts its agent if none runs.
    What any site answers goes to the board.
    """

    def __init__(
        self,
        backend: GlobusComputeBackend,
        *,
        board: SiteBoard | None = None,
        cache_s: float = CACHE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._channels = backend.channels
        self._board = board or SiteBoard("hub")
        self._cache_s = cache_s
        self._timeout_s = timeout_s
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[_Known]] = {}

    async def observe(self, cluster: Cluster) -> Observation:
        """Return what the site sees now; raises an `UpstreamError` if it cannot be asked.

        Of a cluster without an endpoint nothing can be seen.
        """
        if cluster.globus_compute is None:
            return Observation(observed_at=time.time(), instances=())
        known = self._known.get(cluster.name)
        if known is None or known.until <= asyncio.get_running_loop().time():
            known = await self._ask_once(cluster)
        return _said(known)

    async def exchange(self, cluster: Cluster) -> Observation:
        """Ask anew, whatever is known; raises what `observe` raises.

        If a question is under way, another follows it: that one left before the latest wishes.
        """
        if cluster.name in self._asking:
            await self._ask_once(cluster)
        return _said(await self._ask_once(cluster))

    async def _ask_once(self, cluster: Cluster) -> _Known:
        """Join the question that is already under way for this cluster, or start it.

        The question is a task of its own: a caller who leaves does not cancel it for the others.
        """
        task = self._asking.get(cluster.name)
        if task is None:
            task = asyncio.create_task(
                self._ask(cluster), name="globus-site-status", context=Context()
            )
            self._asking[cluster.name] = task
            task.add_done_callback(lambda _: self._asking.pop(cluster.name, None))
        return await asyncio.shield(task)

    async def _ask(self, cluster: Cluster) -> _Known:
        known = self._known[cluster.name] = await self._answer(cluster)
        return known

    async def _answer(self, cluster: Cluster) -> _Known:
        clock = asyncio.get_running_loop().time
        wishes = self._wishes(cluster)
        argument = {"v": PROTOCOL_VERSION} if wishes is None else wishes.to_wire()
        payload = Payload(argument=argument, size=packed_json(argument))
        function = STATUS if wishes is None else ENSURE
        self._board.ask(cluster.name)
        try:
            channel = await self._channels.of(cluster)
            finished = await channel.call(
                cluster, function, payload, deadline=clock() + self._timeout_s, wary=True
            )
            status = await replies.site_status(cluster, finished)
        except errors.HotnodeError as error:
            self._board.take_answer(cluster.name, None)
            return _Known(until=clock() + FAILED_FOR_S, failure=_upstream(error))
        observation = self._board.take_answer(cluster.name, status)
        return _Known(until=clock() + self._cache_s, observation=observation)

    def _wishes(self, cluster: Cluster) -> Wishes | None:
        """Return what the site is told; None for one that is only looked at."""
        target = cluster.globus_compute
        if target is None or ENSURE not in target.functions:
            return None
        return self._board.wishes(cluster.name) if self._board.tells(cluster.name) else None


def _said(known: _Known) -> Observation:
    """Return an answer, or raise the failure that came instead."""
    if known.observation is not None:
        return known.observation
    failure = known.failure or errors.BackendUnavailable()
    # Anew for each caller, and with its class's advice on retries: a question has no effect.
    raise type(failure)(failure.message)


def _upstream(error: errors.HotnodeError) -> errors.UpstreamError:
    """Nobody but the gateway made the request, so no caller can make it better."""
    if isinstance(error, errors.UpstreamError):
        return error
    return errors.BackendUnavailable(error.message)
