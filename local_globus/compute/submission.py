"""Submission: from one request to tasks in an endpoint's queue."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from typing import Any

from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Task
from starlette.requests import Request
from starlette.responses import JSONResponse

from local_globus.compute import errors, names
from local_globus.compute.callers import Caller, Callers
from local_globus.compute.endpoints import Endpoints
from local_globus.compute.functions import Functions
from local_globus.compute.limits import Limits, json_body
from local_globus.compute.link import Link, LinkError
from local_globus.compute.tasks import TaskStore
from local_globus.compute.topology import Topology
from local_globus.compute.workers import Workers

_PERSISTENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One task that is to be queued."""

    task_id: str
    function_id: str
    buffer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a submission needs of the rest of the service."""

    callers: Callers
    endpoints: Endpoints
    functions: Functions
    tasks: TaskStore
    workers: Workers
    topology: Topology
    link: Link
    limits: Limits


class Submission:
    """`POST /v3/endpoints/{endpoint_id}/submit`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def submit(self, request: Request) -> JSONResponse:
        """Queue the tasks, all or none, and have the user endpoint started."""
        parts = self._parts
        caller, endpoint_id = parts.callers.of(request), request.path_params["endpoint_id"]
        body = await json_body(request, parts.limits)
        endpoint = parts.endpoints.usable(endpoint_id, caller)
        allowed = json.loads(endpoint["registration"]).get("allowed_functions")
        orders = self._orders(_payloads(body), caller, (endpoint_id, allowed))
        group_id = await self._group(body, caller)
        worker_id = await parts.workers.ensure(endpoint_id, caller.id, body)
        parts.tasks.add(
            [(o.task_id, group_id, caller.id, o.function_id, worker_id) for o in orders]
        )
        await self._queue(orders, worker_id, _headers(body))
        reply: dict[str, Any] = {
            "request_id": str(uuid.uuid4()),
            "task_group_id": group_id,
            "endpoint_id": endpoint_id,
            "tasks": {},
        }
        for order in orders:
            reply["tasks"].setdefault(order.function_id, []).append(order.task_id)
        return JSONResponse(reply)

    def _orders(
        self,
        payloads: dict[str, list[str]],
        caller: Caller,
        allowed_on: tuple[str, list[str] | None],
    ) -> list[_Order]:
        endpoint_id, allowed = allowed_on
        orders = []
        for function_id, arguments in payloads.items():
            function = self._parts.functions.usable(function_id, caller)
            if allowed is not None and function_id not in allowed:
                raise errors.function_not_permitted(function_id, endpoint_id)
            orders += [
                _Order(
                    task_id=str(uuid.uuid4()),
                    function_id=function_id,
                    buffer=function["packed"] + argument,
                )
                for argument in arguments
            ]
        return orders

    async def _group(self, body: dict[str, Any], caller: Caller) -> str:
        group_id = errors.checked_uuid(body.get("task_group_id") or str(uuid.uuid4()))
        self._parts.tasks.group(group_id, caller)
        has_queue = bool(body.get("create_queue"))
        if has_queue:
            await self._parts.topology.add_group(names.group_prefix(caller.id) + group_id)
        self._parts.tasks.keep_group(group_id, caller.id, has_queue=has_queue)
        return group_id

    async def _queue(self, orders: list[_Order], worker_id: str, headers: dict[str, Any]) -> None:
        try:
            await self._parts.workers.start_if_needed(worker_id)
            await asyncio.gather(*(self._publish(order, worker_id, headers) for order in orders))
        except LinkError as error:
            self._parts.tasks.forget(order.task_id for order in orders)
            raise errors.queues_unavailable() from error

    async def _publish(self, order: _Order, worker_id: str, headers: dict[str, Any]) -> None:
        names_of_it = {"task_uuid": order.task_id, "function_uuid": order.function_id}
        await self._parts.link.publish(
            names.TASKS,
            names.tasks(worker_id),
            body=messagepack.pack(Task(task_id=order.task_id, task_buffer=order.buffer)),
            headers=headers | names_of_it,
            delivery_mode=_PERSISTENT,
            app_id="local_globus",
        )


def _payloads(body: dict[str, Any]) -> dict[str, list[str]]:
    tasks = body.get("tasks")
    if not isinstance(tasks, dict) or not tasks:
        raise errors.malformed("tasks")
    for payloads in tasks.values():
        if not isinstance(payloads, list) or not all(isinstance(p, str) for p in payloads):
            raise errors.malformed("tasks: a list of payloads for each function")
    return tasks


def _headers(body: dict[str, Any]) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if body.get("resource_specification"):
        headers["resource_specification"] = json.dumps(body["resource_specification"])
    if body.get("result_serializers"):
        headers["result_serializers"] = body["result_serializers"]
    return headers
