"""Asks the service about tasks whose results the queue did not bring.

A result can miss its queue: the broker lost it in a restart, or the connection stays away. The
service keeps it for half an hour and gives it to whoever asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from resource_server.adapters.globus_compute.calls import Call, TaskResult
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.failures import CallFailed
from resource_server.adapters.globus_compute.inbox import Inbox
from resource_server.adapters.globus_compute.messages import read_record
from resource_server.adapters.globus_compute.results import Link, ResultStream

log = structlog.get_logger()

#: How often it is considered whether to ask (seconds).
EVERY_S = 5.0
#: After this time without a result the service is asked, and then as often as that (seconds).
OVERDUE_S = 30.0
#: So many tasks are asked about at once.
AT_ONCE = 200


class Recovery:
    """Finds lost results, within the identity's budget for inquiries."""

    def __init__(
        self,
        client: ComputeClient,
        inbox: Inbox,
        stream: ResultStream,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._stream = stream
        self._every_s = every_s
        self._asked_at: dict[str, float] = {}

    async def run_once(self) -> None:
        """Wait a little, then ask about what is overdue."""
        await asyncio.sleep(self._every_s)
        overdue = self._overdue(asyncio.get_running_loop().time())
        if not overdue:
            return
        try:
            records = await self._client.task_records(overdue)
        except CallFailed as failure:
            log.warning("globus_recovery_failed", client=self._client.name, reason=str(failure))
            return
        # Each may be as large as a result can be.
        found = await asyncio.to_thread(_results, records)
        for result in found:
            self._inbox.deliver(result)
        log.info("globus_recovery", client=self._client.name, asked=len(overdue), found=len(found))

    def _overdue(self, now: float) -> list[str]:
        """Choose the tasks to ask about now, and remember that they were."""
        waiting = {f"{call.task_id}": call for call in self._inbox.waiting}
        asked = {task_id: at for task_id, at in self._asked_at.items() if task_id in waiting}
        overdue = [
            task_id
            for task_id, call in waiting.items()
            if self._due_at(call, asked.get(task_id)) <= now
        ][:AT_ONCE]
        self._asked_at = asked | dict.fromkeys(overdue, now)
        return overdue

    def _due_at(self, call: Call, asked_at: float | None) -> float:
        """Return when to ask about a call: at once if the connection broke since it was sent."""
        if asked_at is not None:
            return asked_at + OVERDUE_S
        submitted_at = call.submitted_at or 0.0
        if self._stream.link is Link.CONNECTED and submitted_at < (self._stream.lost_at or 0.0):
            return submitted_at
        return submitted_at + OVERDUE_S


def _results(records: Mapping[str, object]) -> list[TaskResult]:
    results = [read_record(task_id, record) for task_id, record in records.items()]
    return [result for result in results if result is not None]
