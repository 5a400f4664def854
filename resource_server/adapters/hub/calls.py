"""Calls of sites' functions through the hub, which has the sites' links and the tasks' budget."""

from __future__ import annotations

import json

from compute_functions.contract import JsonObject
from resource_server.adapters.hub import messages
from resource_server.adapters.hub.connection import HubConnection
from resource_server.adapters.hub.failures import no_answer
from resource_server.adapters.hub.messages import FunctionCall
from resource_server.adapters.site_calls.pauses import BY_TASK_S
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction

#: The hub keeps the time of each call; this is longer than it waits, turns included (seconds).
PATIENCE_S = 90.0


class HubCalls:
    """A `ports.SiteCalls` of a process that is no hub."""

    def __init__(self, connection: HubConnection) -> None:
        self._connection = connection
        self._pauses: dict[str, float] = {}

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        """Return what the function gave; raises what the hub raised, or that it is away."""
        call = FunctionCall(cluster=cluster, function=function, body=json.dumps(wire).encode())
        outcome = await self._connection.ask(messages.CALL, call, within_s=PATIENCE_S)
        if outcome.returned is None:
            raise no_answer()
        self._pauses[cluster.name] = outcome.returned.pause_s
        return dict(json.loads(outcome.returned.body))

    def pause_s(self, cluster: Cluster) -> float:
        """Return what the hub said with the last answer (seconds)."""
        return self._pauses.get(cluster.name, BY_TASK_S)
