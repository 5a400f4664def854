"""How submissions fare with a service that fails in every way it can."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from resource_server.adapters.globus_compute.calls import Call, Lane
from resource_server.adapters.globus_compute.channel import TaskChannel
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.inbox import Inbox
from resource_server.adapters.globus_compute.lanes import Lanes
from resource_server.adapters.globus_compute.results import Link, ResultStream
from resource_server.adapters.globus_compute.submitter import OUTAGE_PATIENCE_S, Submitter
from resource_server.domain import errors
from tests.support.compute_double import (
    ENDPOINT,
    FUNCTION,
    OTHER_ENDPOINT,
    ComputeDouble,
    break_connection,
    call,
    mumble,
    refuse,
)
from tests.support.eventually import eventually


async def test_a_submission_says_what_the_service_needs(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    cluster = service.cluster(user_endpoint_config={"workers": 3})
    async with asyncio.TaskGroup() as group:
        group.create_task(call(channel, cluster))
        group.create_task(service.answer(1))
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
        group.create_task(service.answer(300))
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
    with pytest.raises(errors.BackendUnavailable, match="may still run") as caught:
        await call(channel, service.cluster())
    assert caught.value.retry_after_s is None
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
    assert caught.value.retry_after_s
    assert "as the test wants" not in caught.value.message
    (entry,) = [entry for entry in logs if entry["event"] == "globus_submission_failed"]
    assert (entry["log_level"], entry["endpoint"]) == ("error", ENDPOINT)
    assert entry["clusters"] == [service.cluster().name]
    assert str(status) in entry["reason"]


async def test_one_endpoint_s_refusal_harms_no_other(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.script.append(refuse(404))
    refused = asyncio.create_task(call(channel, service.cluster()))
    await service.submitted(1)
    async with asyncio.TaskGroup() as group:
        fine = group.create_task(call(channel, service.cluster(OTHER_ENDPOINT), {"n": 7}))
        group.create_task(service.answer(1))
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
        group.create_task(service.answer(3))
    values: list[Any] = [each.result().result.value for each in calls]
    assert [value["n"] for value in values] == [0, 1, 2]
    assert asyncio.get_running_loop().time() - started >= 1
    assert len(service.submissions) == 2


async def test_an_expired_token_is_renewed(service: ComputeDouble, channel: TaskChannel) -> None:
    service.script.append(refuse(401))
    async with asyncio.TaskGroup() as group:
        done = group.create_task(call(channel, service.cluster(), {"n": 1}))
        group.create_task(service.answer(1))
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
    service.fail("token", 401)
    with pytest.raises(errors.BackendUnavailable, match="operators"):
        await call(channel, service.cluster())
    assert service.submissions == []


async def test_while_no_token_can_be_had_nothing_is_sent_and_nothing_lost(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.fail("token", 503)
    async with asyncio.TaskGroup() as group:
        done = group.create_task(call(channel, service.cluster(), {"n": 1}))
        group.create_task(service.answer(1))
    assert done.result().result.value == {"n": 1}
    assert len(service.submissions) == 1


async def test_a_refused_connection_is_tried_again(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(call(channel, service.cluster()))
        group.create_task(service.answer(1))
    service.tasks.clear()
    await service.stop_http()
    with capture_logs() as logs:
        waiting = asyncio.create_task(call(channel, service.cluster(), {"n": 2}))
        await eventually(lambda: "globus_submission_failed" in [each["event"] for each in logs])
        await service.start_http()
        await service.answer(1)
    assert (await waiting).result.value == {"n": 2}
    assert {entry["fate"] for entry in logs if "fate" in entry} == {"not_sent"}


async def test_a_forgotten_group_is_replaced(service: ComputeDouble, channel: TaskChannel) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(call(channel, service.cluster()))
        group.create_task(service.answer(1))
    service.tasks.clear()
    service.script.append(refuse(404))
    waiting = asyncio.create_task(call(channel, service.cluster(), {"n": 2}))
    ((task_id, argument),) = (await service.accepted(1)).items()
    second_group = "00000000-0000-0000-0000-000000000002"
    await service.finish(task_id, argument, group=second_group)
    assert (await waiting).result.value == {"n": 2}
    groups = [sent.get("task_group_id") for sent in service.submissions]
    assert groups[0] is None
    assert groups[1] is not None
    assert groups[2] is None


async def test_a_refusal_without_a_group_is_final(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(call(channel, service.cluster()))
        group.create_task(service.answer(1))
    service.script.extend([refuse(403), refuse(403)])
    with pytest.raises(errors.BackendUnavailable, match="operators"):
        await call(channel, service.cluster())
    assert len(service.submissions) == 3


async def test_who_has_waited_long_for_globus_is_told_that_it_is_away(
    service: ComputeDouble, client: ComputeClient
) -> None:
    lanes, inbox = Lanes(), Inbox()
    submitter = Submitter(client, lanes, inbox, ResultStream(client, inbox))
    now = asyncio.get_running_loop().time()

    def waiting(failed_at: float | None) -> Call:
        return Call(
            lane=Lane.of(ENDPOINT, {}),
            function_id=FUNCTION,
            argument={},
            size=1,
            deadline=now + 600,
            queued_at=now,
            failed_at=failed_at,
        )

    patient, tired = waiting(None), waiting(now - OUTAGE_PATIENCE_S)
    lanes.add(patient)
    lanes.add(tired)
    await service.stop_http()
    async with client:
        await submitter.run_once()
    with pytest.raises(errors.BackendUnavailable, match="cannot be reached") as caught:
        tired.result.result()
    assert caught.value.retry_after_s
    assert not patient.result.done()
    assert len(lanes) == 1


async def test_submissions_keep_within_the_allowance(
    service: ComputeDouble, small_allowance: TaskChannel
) -> None:
    """Six requests in ten seconds: four submissions, of which one goes at once."""
    clusters = [service.cluster(user_endpoint_config={"lane": n}) for n in range(4)]
    calls = [asyncio.create_task(call(small_allowance, each, seconds=0.3)) for each in clusters]
    for each in calls:
        with pytest.raises(errors.BackendTimeout):
            await each
    assert service.calls.count("submit") == 1


async def test_an_endpoint_that_is_refused_does_not_cost_the_others_their_group(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    fine = asyncio.create_task(call(channel, service.cluster(OTHER_ENDPOINT), {"n": 7}))
    ((task_id, argument),) = (await service.accepted(1)).items()
    await eventually(lambda: channel.health.link is Link.CONNECTED)
    service.script.extend([refuse(404), refuse(404)])
    with pytest.raises(errors.BackendUnavailable, match="operators"):
        await call(channel, service.cluster())
    await service.finish(task_id, argument)
    assert (await fine).result.value == {"n": 7}
    assert service.calls.count("queue") == 1
