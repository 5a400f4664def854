"""Which endpoints the service sees online; asked about once however many callers wonder."""

from __future__ import annotations

import asyncio
from contextvars import Context

import structlog

from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.failures import CallFailed

log = structlog.get_logger()

#: How long an answer counts, also none (seconds). Callers look when they have waited so long: an
#: older answer would tell them about a time before their call.
FRESH_FOR_S = 10.0


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

    def look(self, endpoint_id: str, *, cluster: str = "") -> asyncio.Task[None] | None:
        """Ask the service, unless the answer is known; callers share the question.

        Wait for the task without cancelling it. `cluster` is named in the log.
        """
        if self._fresh(endpoint_id):
            return None
        task = self._looks.get(endpoint_id)
        if task is None:
            task = asyncio.create_task(
                self._ask(endpoint_id, cluster), name="globus-endpoint-status", context=Context()
            )
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

    async def _ask(self, endpoint_id: str, cluster: str) -> None:
        place = {"endpoint": endpoint_id, "cluster": cluster}
        try:
            status = await self._client.endpoint_status(endpoint_id)
        except CallFailed as failure:
            log.warning("globus_endpoint_status_unknown", **place, reason=str(failure))
            status = "unknown"
        if status == "offline":
            log.warning("globus_endpoint_offline", **place)
        self._offline[endpoint_id] = status == "offline"
        self._good_until[endpoint_id] = asyncio.get_running_loop().time() + FRESH_FOR_S
