"""What runs at each cluster, asked through the hub: one question serves all web processes."""

from __future__ import annotations

from resource_server.adapters.hub import messages
from resource_server.adapters.hub.connection import HubConnection
from resource_server.adapters.hub.failures import no_answer
from resource_server.adapters.hub.messages import Question
from resource_server.domain.catalog import Cluster
from resource_server.domain.lifecycle import Observation

#: The hub waits for a site as long as it thinks right; this is longer (seconds).
PATIENCE_S = 45.0


class HubSites:
    """Observes sites through the hub, which asks each only now and then."""

    def __init__(self, connection: HubConnection) -> None:
        self._connection = connection

    async def observe(self, cluster: Cluster) -> Observation:
        """Return what the site sees now; raises an `UpstreamError` if it cannot be asked."""
        question = Question(cluster=cluster)
        outcome = await self._connection.ask(messages.OBSERVE, question, within_s=PATIENCE_S)
        if outcome.observation is None:
            raise no_answer()
        return outcome.observation
