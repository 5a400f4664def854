"""Somebody who calls the Compute service of a local Globus through the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import globus_sdk
import pytest
from globus_sdk import ComputeClientV2, ComputeClientV3

from tests.support.local_globus import LocalGlobus
from tests.support.scripted_agent import Ear, ScriptedAgent, compute_v2, compute_v3

T = TypeVar("T")
COMPUTE = str(ComputeClientV3.scopes.all)
SOURCE = {"function_name": "f", "function_code": "def f():\n    return 1\n", "serialized": False}
NOBODY = "00000000-0000-4000-8000-000000000000"


class Person:
    """Somebody with a token for Compute, who calls the service with blocking code."""

    def __init__(self, globus: LocalGlobus, token: str) -> None:
        self.globus = globus
        self.token = token

    def v2(self, call: Callable[[ComputeClientV2], Any]) -> Any:
        with compute_v2(self.globus.url, self.token) as client:
            return call(client).data

    def v3(self, call: Callable[[ComputeClientV3], Any]) -> Any:
        with compute_v3(self.globus.url, self.token) as client:
            return call(client).data

    def register(self, **fields: object) -> str:
        return str(self.v3(lambda c: c.register_function(SOURCE | fields))["function_uuid"])

    def submit(self, endpoint_id: str, function_id: str, **fields: object) -> dict[str, Any]:
        body = {"tasks": {function_id: ["2\n11\n"]}, "create_queue": True} | fields
        answer: dict[str, Any] = self.v3(lambda c: c.submit(endpoint_id, body))
        return answer

    def task(self, submitted: dict[str, Any]) -> dict[str, Any]:
        (task_ids,) = submitted["tasks"].values()
        view: dict[str, Any] = self.v2(lambda c: c.get_task(task_ids[0]))
        return view

    def results(self, submitted: dict[str, Any]) -> Ear:
        where = self.v2(lambda c: c.get_result_amqp_url())
        queue = where["queue_prefix"] + submitted["task_group_id"]
        return Ear(where["connection_url"], queue)

    def agent(self, **fields: object) -> ScriptedAgent:
        return ScriptedAgent(self.globus.url, self.token, **fields)


def refused(call: Callable[[], object]) -> tuple[int, int]:
    """Return HTTP status and the service's code of a call that must be refused."""
    with pytest.raises(globus_sdk.GlobusAPIError) as error:
        call()
    body = error.value.raw_json
    assert body is not None
    assert set(body) == {"status", "code", "error_args", "reason", "http_status_code"}
    assert body["http_status_code"] == error.value.http_status
    return error.value.http_status, body["code"]


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking code in a thread."""
    return await asyncio.wait_for(asyncio.to_thread(work), 60)
