"""Which exchanges, queues and bindings the broker must have for the service and each endpoint."""

from __future__ import annotations

from collections.abc import Iterable

from local_globus.compute import errors, names
from local_globus.compute.limits import Limits
from local_globus.compute.link import Link, LinkError

#: A result queue that nobody reads is deleted after a day.
_UNUSED_GROUP_S = 24 * 3600
#: Endpoints ignore older commands.
_COMMAND_S = 180


class Topology:
    """Declares what is needed; declaring twice does no harm."""

    def __init__(self, link: Link, users: names.BrokerUsers, limits: Limits) -> None:
        self.users = users
        self._link = link
        self._limits = limits

    async def add_service(self) -> None:
        """Declare what the service itself needs."""
        for exchange in (names.TASKS, names.RESULTS, names.HEARTBEATS):
            await self._link.declare_exchange(exchange)
        for queue in (names.RESULT_QUEUE, names.HEARTBEAT_QUEUE):
            await self._link.declare_queue(queue)

    async def add_endpoint(self, id_: str) -> None:
        """Declare the command queue of an endpoint and the way of its heartbeats."""
        try:
            await self._link.declare_queue(names.commands(id_), message_ttl=_COMMAND_S)
            await self._link.bind(names.HEARTBEATS, names.heartbeats(id_), names.HEARTBEAT_QUEUE)
        except LinkError as error:
            raise errors.queues_unavailable() from error

    async def add_worker(self, id_: str) -> None:
        """Declare the task queue of a user endpoint and the ways of what it sends."""
        try:
            await self._link.declare_queue(names.tasks(id_), message_ttl=self._limits.task_kept_s)
            await self._link.bind(names.TASKS, names.tasks(id_), names.tasks(id_))
            await self._link.bind(names.RESULTS, names.results(id_), names.RESULT_QUEUE)
            await self._link.bind(names.HEARTBEATS, names.heartbeats(id_), names.HEARTBEAT_QUEUE)
        except LinkError as error:
            raise errors.queues_unavailable() from error

    async def add_group(self, queue: str) -> None:
        """Declare the result queue of a task group."""
        try:
            await self._link.declare_queue(
                queue, message_ttl=self._limits.result_kept_s, expires=_UNUSED_GROUP_S
            )
        except LinkError as error:
            raise errors.queues_unavailable() from error

    async def remove_endpoint(self, id_: str, workers: Iterable[str]) -> None:
        """Delete the queues of an endpoint and of its user endpoints."""
        try:
            for queue in (names.commands(id_), *(names.tasks(worker) for worker in workers)):
                await self._link.delete_queue(queue)
        except LinkError as error:
            raise errors.queues_unavailable() from error
