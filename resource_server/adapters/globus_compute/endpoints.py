"""Which endpoints the service sees online; asked about once however many callers wonder."""

from __future__ import annotations

import asyncio

import structlog

from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.failures import CallFailed

log = structlog.get_logger(__name__)

#: How long an answer counts (seconds). An endpoint that is away is looked at again sooner, for it
#: may be back and requests to it are refused meanwhile.
ONLINE_FOR_S = 30.0
OFFLINE_FOR_S = 10.0
#: After a failed question nobody asks again for so long (seconds).
UNKNOWN_FOR_S = 10.0


class Endpoints:
    """The state of an identity's endpoints, as far as known."""

    def __init__(self, client: ComputeClient) -> None:
        self._client = client
        self._offline: dict[str, bool] = {}
        self._good_until: dict[str, float] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}

    def offline(self, endpoint_id: str) -> bool:
        """Tell whether the endpoint is known to be offline now."""
        return self._fresh(endpoint_id) and self._offline[endpoint_id]

    def look(self, endpoint_id: str) -> asyncio.Task[None] | None:
        """Ask the service, unless the answer is known; callers share the question.

        Wait for the task without cancelling it.
        """
        if self._fresh(endpoint_id):
            return None
        task = self._looks.get(endpoint_id)
        if task is None:
            task = asyncio.create_task(self._ask(endpoint_id), name="globus-endpoint-status")
            self._looks[endpoint_id] = task
            task.add_done_callback(lambda _: self._looks.pop(endpoint_id, None))
        return task

    async def close(self) -> None:
        """End what is still being asked."""
        looks = list(self._looks.values())
        for task in looks:
            task.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    def _fresh(self, endpoint_id: str) -> bool:
        return asyncio.get_running_loop().time() < self._good_until.get(endpoint_id, 0.0)

    async def _ask(self, endpoint_id: str) -> None:
        try:
            status = await self._client.endpoint_status(endpoint_id)
        except CallFailed as failure:
            log.warning("globus_endpoint_status_unknown", endpoint=endpoint_id, reason=str(failure))
            self._keep(endpoint_id, offline=False, seconds=UNKNOWN_FOR_S)
            return
        offline = status == "offline"
        if offline:
            log.warning("globus_endpoint_offline", endpoint=endpoint_id)
        self._keep(endpoint_id, offline=offline, seconds=OFFLINE_FOR_S if offline else ONLINE_FOR_S)

    def _keep(self, endpoint_id: str, *, offline: bool, seconds: float) -> None:
        self._offline[endpoint_id] = offline
        self._good_until[endpoint_id] = asyncio.get_running_loop().time() + seconds
