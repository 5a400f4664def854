"""What endpoints send back: results, which go to whoever waits for them, and heartbeats."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import Any

from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import EPStatusReport, Message, Result

from local_globus.compute import names
from local_globus.compute.endpoints import EndpointStore
from local_globus.compute.limits import Limits
from local_globus.compute.link import Delivery, Link, LinkError, NotTaken
from local_globus.compute.tasks import TaskStore
from local_globus.compute.workers import Workers, heartbeat_s

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 128
_PERSISTENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """A result, and the message that goes to the submitter."""

    result: Result
    body: bytes


class Intake:
    """Takes messages from the broker and works them off in their order.

    A result is passed on, then kept, then acknowledged: a crash in between repeats it and loses
    nothing.
    """

    def __init__(
        self,
        link: Link,
        *,
        endpoints: EndpointStore,
        workers: Workers,
        tasks: TaskStore,
        limits: Limits,
    ) -> None:
        self._link = link
        self._endpoints = endpoints
        self._workers = workers
        self._tasks = tasks
        self._limits = limits
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    def receive(self, delivery: Delivery) -> None:
        """Accept a message; the broker's prefetch limit bounds how many wait here."""
        self._arrived.put_nowait(delivery)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            deliveries = [await self._arrived.get()]
            while not self._arrived.empty() and len(deliveries) < _MOST_AT_ONCE:
                deliveries.append(self._arrived.get_nowait())
            try:
                await self._work_off(deliveries)
            except LinkError as error:
                # Not acknowledged, so the broker sends them again with the next connection.
                logger.warning("results_delayed", extra={"error": repr(error)})

    async def _work_off(self, deliveries: list[Delivery]) -> None:
        outcomes: dict[str, _Outcome] = {}
        for delivery in deliveries:
            for outcome in await self._outcomes(delivery):
                outcomes.setdefault(str(outcome.result.task_id), outcome)
        await asyncio.gather(*(self._pass_on(outcome) for outcome in outcomes.values()))
        self._tasks.finish([_row(outcome.result) for outcome in outcomes.values()])
        for delivery in deliveries:
            delivery.settle()

    async def _outcomes(self, delivery: Delivery) -> list[_Outcome]:
        message, sender = _unpacked(delivery.body), names.sender(delivery.routing_key)
        if isinstance(message, EPStatusReport) and str(message.endpoint_id) == sender:
            return await self._note(sender, message.global_state)
        if isinstance(message, Result) and self._tasks.pending(str(message.task_id), sender):
            return [self._within_limit(message, delivery.body)]
        logger.info("message_ignored", extra={"sender": sender})
        return []

    async def _note(self, sender: str, state: dict[str, Any]) -> list[_Outcome]:
        if self._endpoints.heard(sender, heartbeat_s(state)):
            await self._workers.start_waiting(sender)
        elif self._workers.heard(sender, state) and "error" in state:
            # It failed to start, so nobody will do what waits for it.
            waiting = self._tasks.pending_of(sender)
            return [_failure(task_id, "ENDPOINT_ERROR", str(state["error"])) for task_id in waiting]
        return []

    def _within_limit(self, result: Result, body: bytes) -> _Outcome:
        limit = self._limits.result_bytes
        if len(body) <= limit:
            return _Outcome(result=result, body=body)
        text = f"Task result of {len(body)}B exceeded current limit of {limit}B"
        return _failure(str(result.task_id), "RESULT_SIZE_LIMIT", text)

    async def _pass_on(self, outcome: _Outcome) -> None:
        queue = self._tasks.result_queue(str(outcome.result.task_id))
        if queue is None:
            return
        try:
            await self._link.publish("", queue, body=outcome.body, delivery_mode=_PERSISTENT)
        except NotTaken as error:
            # It can still be fetched from the web service.
            logger.info("result_not_queued", extra={"queue": queue, "error": str(error)})


def _unpacked(body: bytes) -> Message | None:
    try:
        return messagepack.unpack(body)
    except (ValueError, KeyError, RecursionError) as error:
        logger.warning("message_unreadable", extra={"error": repr(error)})
        return None


def _failure(task_id: str, code: str, text: str) -> _Outcome:
    details = {"code": code, "user_message": text}
    result = Result(task_id=task_id, data=text, error_details=details, task_statuses=[])
    return _Outcome(result=result, body=messagepack.pack(result))


def _row(result: Result) -> tuple[str, str, str, str]:
    moments = {status.state.value: status.timestamp / 1e9 for status in result.task_statuses or []}
    details = {**(result.details or {}), "task_transitions": moments}
    status = "failed" if result.is_error else "success"
    return status, result.data, json.dumps(details), str(result.task_id)
