"""Calls of a site's functions as Globus Compute tasks, for sites without a link.

The requests of all callers under one Globus identity are few, and people wait for most of them. So
of these calls one begins a second, whatever waits here; those that come together for one endpoint
share a submission with each other and with everything else.
"""

from __future__ import annotations

import asyncio

from compute_functions.contract import JsonObject
from resource_server.adapters.globus_compute import GlobusComputeBackend, replies
from resource_server.adapters.globus_compute.lanes import BATCH_BYTES
from resource_server.adapters.globus_compute.payload import Payload, packed_json
from resource_server.adapters.site_calls.pauses import BY_TASK_S
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction

#: Between the beginnings of two calls under one identity (seconds).
TURN_S = 1.0
#: A call whose turn is farther away than this is refused (seconds).
LONGEST_TURN_S = 30.0
#: How long a call may take from its turn on (seconds).
TIMEOUT_S = 45.0


class CallsByTask:
    """A `ports.SiteCalls` over the channels of a backend."""

    def __init__(
        self,
        backend: GlobusComputeBackend,
        *,
        turn_s: float = TURN_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._channels = backend.channels
        self._turn_s = turn_s
        self._timeout_s = timeout_s
        self._turns: dict[str, float] = {}

    def serves(self, cluster: Cluster, function: SiteFunction) -> bool:
        """Tell whether the function is registered for the cluster."""
        target = cluster.globus_compute
        return target is not None and function in target.functions

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        """Return what the function gave; see the port."""
        payload = Payload(argument=wire, size=packed_json(wire))
        if payload.size > BATCH_BYTES:
            raise errors.BackendUnavailable(
                f"A call of {payload.size} bytes is longer than Globus Compute carries "
                f"({BATCH_BYTES})."
            )
        channel = await self._channels.of(cluster)
        await self._turn(cluster)
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        # One that is offline is found out before anything waits for it in the service.
        finished = await channel.call(cluster, function, payload, deadline=deadline, wary=True)
        return replies.returned(cluster, finished)

    def pause_s(self, cluster: Cluster) -> float:
        """Return how long to wait between two questions to the site (seconds)."""
        return BY_TASK_S

    async def _turn(self, cluster: Cluster) -> None:
        """Wait for the next turn of the cluster's identity."""
        identity = cluster.globus_compute.client if cluster.globus_compute else ""
        now = asyncio.get_running_loop().time()
        at = max(now, self._turns.get(identity, now))
        if at - now > LONGEST_TURN_S:
            raise errors.BackendUnavailable(
                f"Too much is said to sites by task. '{cluster.name}' comes later."
            )
        self._turns[identity] = at + self._turn_s
        await asyncio.sleep(at - now)
