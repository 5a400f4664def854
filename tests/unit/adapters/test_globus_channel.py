"""One identity's channel against a service that fails in every way a submission can fail."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from resource_server.adapters.globus_compute.calls import Call, Lane
from resource_server.adapters.globus_compute.channel import (
    WAITING_BYTES,
    Finished,
    TaskChannel,
)
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.credentials import ClientCredentials
from resource_server.adapters.globus_compute.inbox import Inbox
from resource_server.adapters.globus_compute.lanes import Lanes
from resource_server.adapters.globus_compute.payload import Payload
from resource_server.adapters.globus_compute.recovery import Recovery
from resource_server.adapters.globus_compute.results import Link, ResultStream
from resource_server.adapters.globus_compute.submitter import OUTAGE_PATIENCE_S, Submitter
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from tests.support.compute_double import (
    ENDPOINT,
    FUNCTION,
    OTHER_ENDPOINT,
    ComputeDouble,
    break_connection,
    mumble,
    refuse,
)


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[ComputeDouble]:
    async with ComputeDouble(tmp_path) as double:
        yield double


def client_of(service: ComputeDouble, allowance: int = 1000) -> ComputeClient:
    credentials = ClientCredentials.read(service.clients, "local")
    return ComputeClient(credentials, service.addresses, allowance=allowance)


@pytest_asyncio.fixture
async def channel(service: ComputeDouble) -> AsyncIterator[TaskChannel]:
    async with TaskChannel(client_of(service)) as channel:
        yield channel


async def call(
    channel: TaskChannel,
    cluster: Cluster,
    argument: dict[str, Any] | None = None,
    *,
    seconds: float = 30.0,
    size: int = 100,
) -> Finished:
    deadline = asyncio.get_running_loop().time() + seconds
    payload = Payload(argument=argument or {"n": 0}, size=size)
    return await channel.call(cluster, "run_request", payload, deadline=deadline)


async def answer_all(service: ComputeDouble, count: int) -> None:
    """Return to each of so many tasks its own argument."""
    for task_id, argument in (await service.accepted(count)).items():
        await service.finish(task_id, argument)


async def test_each_caller_gets_its_own_result(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    cluster = service.cluster()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(call(channel, cluster, {"n": n})) for n in range(5)]
        group.create_task(answer_all(service, 5))
    finished = [each.result() for each in calls]
    assert [each.result.value for each in finished] == [{"n": n} for n in range(5)]
    assert len(service.submissions) == 1
    assert all(each.queue_s >= 0 and each.away_s > 0 for each in finished)


async def test_a_submission_says_what_the_service_needs(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    cluster = service.cluster(user_endpoint_config={"workers": 3})
    async with asyncio.TaskGroup() as group:
        group.create_task(call(channel, cluster))
        group.create_task(answer_all(service, 1))
    (sent,) = service.submissions
    assert sent["create_queue"] is True
    assert sent["result_serializers"] == ["globus_compute_sdk.serialize.JSONData"]
    assert sent["user_endpoint_config"] == {"workers": 3}
    assert list(sent["tasks"]) == [FUNCTION]
    assert "task_group_id" not in sent


async def test_a_flood_is_a_few_submissions(service: ComputeDouble, channel: TaskChannel) -> None:
    here, there = service.cluster(), service.cluster(OTHER_ENDPOINT)
    async with asyncio.TaskGroup() as group:
        for n in range(150):
            group.create_task(call(channel, here, {"n": n}))
            group.create_task(call(channel, there, {"n": n}))
        group.create_task(answer_all(service, 300))
    sizes = {(sent["endpoint"], len(sent["tasks"][FUNCTION])) for sent in service.submissions}
    assert sizes == {(ENDPOINT, 128), (ENDPOINT, 22), (OTHER_ENDPOINT, 128), (OTHER_ENDPOINT, 22)}
    assert len({sent.get("task_group_id") for sent in service.submissions[1:]}) == 1


@pytest.mark.parametrize(
    "behaviour", [break_connection, mumble, refuse(500), refuse(502), refuse(503), refuse(504)]
)
async def test_what_may_have_been_accepted_is_not_sent_again(
    service: ComputeDouble, channel: TaskChannel, behaviour: Any
) -> None:
    service.script.append(behaviour)
    with pytest.raises(errors.BackendUnavailable, match="may still run"):
        await call(channel, service.cluster())
    assert len(service.submissions) == 1
    assert channel.health.trouble


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_a_refusal_is_the_operators_business(
    service: ComputeDouble, channel: TaskChannel, status: int
) -> None:
    service.script.append(refuse(status))
    with capture_logs() as logs, pytest.raises(errors.BackendUnavailable) as caught:
        await call(channel, service.cluster())
    assert "operators" in caught.value.message
    assert "as the test wants" not in caught.value.message
    (entry,) = [entry for entry in logs if entry["event"] == "globus_submission_failed"]
    assert (entry["log_level"], entry["endpoint"]) == ("error", ENDPOINT)
    assert str(status) in entry["reason"]


async def test_one_endpoint_s_refusal_harms_no_other(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.script.append(refuse(404))
    refused = asyncio.create_task(call(channel, service.cluster()))
    await service.submitted(1)
    async with asyncio.TaskGroup() as group:
        fine = group.create_task(call(channel, service.cluster(OTHER_ENDPOINT), {"n": 7}))
        group.create_task(answer_all(service, 1))
    assert fine.result().result.value == {"n": 7}
    with pytest.raises(errors.BackendUnavailable):
        await refused


async def test_a_throttled_submission_is_sent_again_after_the_wait(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.script.append(refuse(429, {"Retry-After": "1"}))
    started = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(call(channel, service.cluster(), {"n": n})) for n in range(3)]
        group.create_task(answer_all(service, 3))
    assert [each.result().result.value["n"] for each in calls] == [0, 1, 2]
    assert asyncio.get_running_loop().time() - started >= 1
    assert len(service.submissions) == 2


async def test_an_expired_token_is_renewed(service: ComputeDouble, channel: TaskChannel) -> None:
    service.script.append(refuse(401))
    async with asyncio.TaskGroup() as group:
        done = group.create_task(call(channel, service.cluster(), {"n": 1}))
        group.create_task(answer_all(service, 1))
    assert done.result().result.value == {"n": 1}
    assert [name for name in service.calls[:4] if name != "queue"] == [
        "token",
        "submit",
        "token",
        "submit",
    ]


async def test_a_token_that_stays_refused_is_the_operators_business(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.script.extend([refuse(401), refuse(401)])
    with pytest.raises(errors.BackendUnavailable, match="operators"):
        await call(channel, service.cluster())
    assert len(service.submissions) == 2


async def test_a_wrong_secret_is_the_operators_business(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.refusals["token"] = deque([401])
    with pytest.raises(errors.BackendUnavailable, match="operators"):
        await call(channel, service.cluster())
    assert service.submissions == []


async def test_while_no_token_can_be_had_nothing_is_sent_and_nothing_lost(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.refusals["token"] = deque([503])
    async with asyncio.TaskGroup() as group:
        done = group.create_task(call(channel, service.cluster(), {"n": 1}))
        group.create_task(answer_all(service, 1))
    assert done.result().result.value == {"n": 1}
    assert len(service.submissions) == 1


async def test_a_refused_connection_is_tried_again(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(call(channel, service.cluster()))
        group.create_task(answer_all(service, 1))
    service.tasks.clear()
    await service.stop_http()
    with capture_logs() as logs:
        waiting = asyncio.create_task(call(channel, service.cluster(), {"n": 2}))
        while not any(entry["event"] == "globus_submission_failed" for entry in logs):
            await asyncio.sleep(0.01)
        await service.start_http()
        await answer_all(service, 1)
    assert (await waiting).result.value == {"n": 2}
    assert {entry["fate"] for entry in logs if "fate" in entry} == {"not_sent"}
