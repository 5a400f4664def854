"""Listens to an identity's result queue, and stays at it."""

from __future__ import annotations

import asyncio
import random
from contextvars import Context
from enum import StrEnum

import structlog

from resource_server.adapters.globus_compute import amqp
from resource_server.adapters.globus_compute.calls import TaskResult
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.failures import CallFailed
from resource_server.adapters.globus_compute.inbox import Inbox
from resource_server.adapters.globus_compute.messages import MessageError, read_message

log = structlog.get_logger()

#: Decoding more than this would hold up every other request of the process (bytes).
THREAD_FROM = 256 * 1024
#: Pauses between attempts to reconnect double from the first to the last (seconds).
FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 30.0
#: A connection that held for so long was a good one: pauses start anew (seconds).
GOOD_AFTER_S = 30.0


class Link(StrEnum):
    """Whether results can arrive by the queue."""

    IDLE = "idle"  # Nothing was submitted yet, so there is no queue.
    CONNECTING = "connecting"
    CONNECTED = "connected"


class ResultStream:
    """Brings the results of one task group to the inbox.

    The group is the service's and is made by the first submission, so each process has its own.
    What is not acknowledged when a connection breaks is delivered again on the next one.
    """

    def __init__(self, client: ComputeClient, inbox: Inbox) -> None:
        self._client = client
        self._inbox = inbox
        self._group: str | None = None
        self._grouped = asyncio.Event()
        self._subscription: amqp.Subscription | None = None
        self._decoding: set[asyncio.Task[None]] = set()
        self._failures = 0
        self.link = Link.IDLE
        #: When the last connection was lost, on the event loop's clock.
        self.lost_at: float | None = None

    @property
    def group(self) -> str | None:
        """The task group to submit to; None asks the service for a new one."""
        return self._group

    def use_group(self, group: str) -> None:
        """Listen to the queue of a group, and to no other."""
        if group == self._group:
            return
        self._group = group
        self._grouped.set()
        if self._subscription is not None:
            self._subscription.end("the task group changed")

    async def run_once(self) -> None:
        """Listen until the connection is lost or the group changes."""
        await self._grouped.wait()
        group = self._group
        try:
            await self._listen(f"{group}")
        except (CallFailed, amqp.SubscriptionLost, TimeoutError) as reason:
            if group == self._group:
                await self._pause(reason)

    async def close(self) -> None:
        """End what is still being decoded."""
        for task in self._decoding:
            task.cancel()
        await asyncio.gather(*self._decoding, return_exceptions=True)

    async def _listen(self, group: str) -> None:
        self.link = Link.CONNECTING
        address = await self._client.queue_address()
        queue = f"{address.prefix}{group}"
        async with amqp.subscribed(address.url, queue, self._on_message) as subscription:
            self._subscription, self.link = subscription, Link.CONNECTED
            connected_at = asyncio.get_running_loop().time()
            log.info("globus_results_connected", client=self._client.name, group=group)
            try:
                await subscription.until_lost()
            finally:
                self._subscription, self.link = None, Link.CONNECTING
                self.lost_at = asyncio.get_running_loop().time()
                if self.lost_at - connected_at > GOOD_AFTER_S:
                    self._failures = 0

    async def _pause(self, reason: Exception) -> None:
        """Wait before the next attempt, longer each time and never in step with other gateways."""
        longest = min(FIRST_PAUSE_S * 2**self._failures, LAST_PAUSE_S)
        pause = longest * random.uniform(0.5, 1.0)  # noqa: S311 # it spreads attempts, no more
        self._failures += 1
        log.warning(
            "globus_results_lost", client=self._client.name, reason=str(reason), pause_s=pause
        )
        await asyncio.sleep(pause)

    def _on_message(self, subscription: amqp.Subscription, body: bytes, tag: int) -> None:
        if len(body) < THREAD_FROM:
            try:
                self._deliver(self._read(body))
            finally:
                # Whatever it was, given back it would come again for ever.
                subscription.acknowledge(tag)
            return
        task = asyncio.create_task(
            self._take_large(subscription, body, tag), name="globus-decode", context=Context()
        )
        self._decoding.add(task)
        task.add_done_callback(self._decoding.discard)

    async def _take_large(self, subscription: amqp.Subscription, body: bytes, tag: int) -> None:
        try:
            self._deliver(await asyncio.to_thread(self._read, body))
        finally:
            subscription.acknowledge(tag)

    def _read(self, body: bytes) -> TaskResult | None:
        try:
            return read_message(body)
        except MessageError as error:
            # Nobody knows whose it is: its caller will hear of a timeout.
            log.error("globus_result_unreadable", client=self._client.name, reason=str(error))  # noqa: TRY400 # the reason says it all
            return None

    def _deliver(self, result: TaskResult | None) -> None:
        if result is not None:
            self._inbox.deliver(result)
