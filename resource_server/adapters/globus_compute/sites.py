"""What runs at each cluster, as its site says; asked at most every few seconds."""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from dataclasses import dataclass

from compute_functions.contract import PROTOCOL_VERSION
from resource_server.adapters.globus_compute import replies
from resource_server.adapters.globus_compute.backend import GlobusComputeBackend
from resource_server.adapters.globus_compute.payload import Payload, packed_json
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.lifecycle import Observation

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
    """Observes sites through the function `site_status`, over the channels of a backend."""

    def __init__(
        self,
        backend: GlobusComputeBackend,
        *,
        cache_s: float = CACHE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._channels = backend.channels
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
        if known.observation is not None:
            return known.observation
        failure = known.failure or errors.BackendUnavailable()
        # Anew for each caller, and with its class's advice on retries: a question has no effect.
        raise type(failure)(failure.message)

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
        argument = {"v": PROTOCOL_VERSION}
        payload = Payload(argument=argument, size=packed_json(argument))
        try:
            channel = await self._channels.of(cluster)
            finished = await channel.call(
                cluster, "site_status", payload, deadline=clock() + self._timeout_s, wary=True
            )
            status = await replies.site_status(cluster, finished)
        except errors.HotnodeError as error:
            return _Known(until=clock() + FAILED_FOR_S, failure=_upstream(error))
        observation = Observation(observed_at=time.time(), instances=status.instances)
        return _Known(until=clock() + self._cache_s, observation=observation)


def _upstream(error: errors.HotnodeError) -> errors.UpstreamError:
    """Nobody but the gateway made the request, so no caller can make it better."""
    if isinstance(error, errors.UpstreamError):
        return error
    return errors.BackendUnavailable(error.message)
