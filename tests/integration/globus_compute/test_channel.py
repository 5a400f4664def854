"""Each caller of a channel has its own result, its own patience and its own error."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from resource_server.adapters.globus_compute.channel import WAITING_BYTES, TaskChannel
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.payload import Payload
from resource_server.adapters.globus_compute.results import Link
from resource_server.domain import errors
from tests.support.compute_double import ComputeDouble, call, hang, refuse
from tests.support.eventually import eventually


async def test_each_caller_gets_its_own_result(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    cluster = service.cluster()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(call(channel, cluster, {"n": n})) for n in range(5)]
        group.create_task(service.answer(5))
    finished = [each.result() for each in calls]
    assert [each.result.value for each in finished] == [{"n": n} for n in range(5)]
    assert len(service.submissions) == 1
    assert all(each.queue_s >= 0 and each.away_s > 0 for each in finished)


async def test_one_timeout_harms_no_other(service: ComputeDouble, channel: TaskChannel) -> None:
    cluster = service.cluster()
    hasty = asyncio.create_task(call(channel, cluster, {"n": "hasty"}, seconds=0.3))
    patient = asyncio.create_task(call(channel, cluster, {"n": "patient"}))
    tasks = {argument["n"]: task_id for task_id, argument in (await service.accepted(2)).items()}
    with pytest.raises(errors.BackendTimeout) as caught:
        await hasty
    assert vars(caught.value)["task_id"] == tasks["hasty"]
    await service.finish(tasks["hasty"], "too late")
    await service.finish(tasks["patient"], "in time")
    assert (await patient).result.value == "in time"
    assert channel.health.running == 0


async def test_who_leaves_the_queue_is_not_sent(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.script.append(refuse(429, {"Retry-After": "1"}))
    calls = [
        asyncio.create_task(call(channel, service.cluster(), {"n": n})) for n in ("goes", "stays")
    ]
    await service.submitted(1)
    calls[0].cancel()
    assert list((await service.accepted(1)).values()) == [{"n": "stays"}]
    await service.answer(1)
    assert (await calls[1]).result.value == {"n": "stays"}


async def test_who_leaves_after_the_submission_is_forgotten(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    leaving = asyncio.create_task(call(channel, service.cluster()))
    await service.accepted(1)
    await eventually(lambda: channel.health.running)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert channel.health.running == 0


async def test_who_waits_too_long_for_a_turn_is_never_sent(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.script.append(refuse(429, {"Retry-After": "60"}))
    with pytest.raises(errors.BackendTimeout, match="did not reach") as caught:
        await call(channel, service.cluster(), seconds=0.3)
    assert "task_id" not in vars(caught.value)
    assert len(service.submissions) == 1
    assert channel.health.queued == 0


async def test_an_offline_endpoint_is_named_at_the_end_of_the_patience(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.endpoint_state = "offline"
    with pytest.raises(errors.BackendUnavailable, match="offline") as caught:
        await call(channel, service.cluster(), seconds=0.2)
    assert vars(caught.value)["task_id"] in service.tasks
    assert caught.value.retry_after_s is None
    assert "polaris" in caught.value.message


async def test_an_offline_endpoint_is_found_while_callers_wait(
    service: ComputeDouble, client: ComputeClient
) -> None:
    service.endpoint_state = "offline"
    async with TaskChannel(client, look_after_s=0.1) as channel:
        calls = [asyncio.create_task(call(channel, service.cluster())) for _ in range(5)]
        for each in calls:
            with pytest.raises(errors.BackendUnavailable, match="offline"):
                await each
    assert service.calls.count("status") == 1


async def test_nothing_is_sent_to_an_endpoint_that_is_known_to_be_offline(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.endpoint_state = "offline"
    worth_repeating = []
    for _ in range(2):
        with pytest.raises(errors.BackendUnavailable, match="offline") as caught:
            await call(channel, service.cluster(), seconds=0.2)
        worth_repeating.append(caught.value.retry_after_s is not None)
    assert worth_repeating == [False, True]
    assert len(service.submissions) == 1
    assert service.calls.count("status") == 1


async def test_an_endpoint_that_is_there_is_waited_for(
    service: ComputeDouble, client: ComputeClient
) -> None:
    async with TaskChannel(client, look_after_s=0.05) as channel, asyncio.TaskGroup() as group:
        done = group.create_task(call(channel, service.cluster(), {"n": 1}))
        ((task_id, argument),) = (await service.accepted(1)).items()
        await eventually(lambda: "status" in service.calls)
        await service.finish(task_id, argument)
    assert done.result().result.value == {"n": 1}


async def test_a_status_that_cannot_be_had_accuses_nobody(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.fail("status", 503)
    with pytest.raises(errors.BackendTimeout, match="did not answer"):
        await call(channel, service.cluster(), seconds=0.2)


async def test_what_waits_is_bounded(service: ComputeDouble, channel: TaskChannel) -> None:
    service.script.append(refuse(429, {"Retry-After": "60"}))
    large = WAITING_BYTES // 2 + 1
    first = asyncio.create_task(call(channel, service.cluster(), size=large))
    await service.submitted(1)
    await eventually(lambda: channel.health.queued)
    with pytest.raises(errors.BackendUnavailable, match="Too many requests"):
        await call(channel, service.cluster(), size=large)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize(
    "target",
    [
        {"functions": {}},
        {"functions": {"run_request": "no uuid"}},
        {"endpoint_id": "no uuid"},
    ],
)
async def test_a_target_that_cannot_be_right_is_the_operators_business(
    service: ComputeDouble, channel: TaskChannel, target: dict[str, Any]
) -> None:
    with capture_logs() as logs, pytest.raises(errors.BackendUnavailable, match="operators"):
        await call(channel, service.cluster(**target))
    assert [entry["event"] for entry in logs] == ["globus_target_invalid"]
    assert service.calls == []


async def test_health_is_known_without_asking(service: ComputeDouble, channel: TaskChannel) -> None:
    assert channel.health.link is Link.IDLE
    async with asyncio.TaskGroup() as group:
        group.create_task(call(channel, service.cluster()))
        group.create_task(service.answer(1))
    asked = list(service.calls)
    health = channel.health
    assert (health.client, health.link, health.trouble) == ("local", Link.CONNECTED, "")
    assert (health.queued, health.running) == (0, 0)
    assert service.calls == asked


async def test_hops_add_up(service: ComputeDouble, channel: TaskChannel) -> None:
    started = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        done = group.create_task(call(channel, service.cluster()))
        group.create_task(service.answer(1))
    took = asyncio.get_running_loop().time() - started
    finished = done.result()
    assert 0 <= finished.queue_s + finished.away_s <= took


async def test_a_wary_call_sends_nothing_to_an_endpoint_that_is_away(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.endpoint_state = "offline"
    deadline = asyncio.get_running_loop().time() + 30
    payload = Payload(argument={"v": 1}, size=10)
    with pytest.raises(errors.BackendUnavailable, match="offline"):
        await channel.call(service.cluster(), "site_status", payload, deadline=deadline, wary=True)
    assert service.submissions == []


async def test_a_gateway_that_stops_tells_those_who_wait(
    service: ComputeDouble, client: ComputeClient
) -> None:
    async with TaskChannel(client) as channel:
        waiting = asyncio.create_task(call(channel, service.cluster()))
        await eventually(lambda: channel.health.running)
    with pytest.raises(errors.BackendUnavailable, match="stops") as caught:
        await waiting
    assert caught.value.retry_after_s is None


async def test_a_gateway_that_stops_invites_back_those_whose_calls_it_never_sent(
    service: ComputeDouble, client: ComputeClient
) -> None:
    service.script.append(refuse(429, {"Retry-After": "60"}))
    async with TaskChannel(client) as channel:
        waiting = asyncio.create_task(call(channel, service.cluster()))
        await service.submitted(1)
        await eventually(lambda: channel.health.queued)
    with pytest.raises(errors.BackendUnavailable, match="stops") as caught:
        await waiting
    assert caught.value.retry_after_s


async def test_what_works_in_the_background_names_no_request_in_the_log(
    service: ComputeDouble, client: ComputeClient
) -> None:
    with (
        structlog.contextvars.bound_contextvars(request_id="first"),
        capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs,
    ):
        async with TaskChannel(client) as channel, asyncio.TaskGroup() as group:
            group.create_task(call(channel, service.cluster(), {"request_id": "mine"}))
            group.create_task(service.answer(1))
    (submitted,) = [entry for entry in logs if entry["event"] == "globus_submitted"]
    assert submitted["request_ids"] == ["mine"]
    assert not [entry for entry in logs if "request_id" in entry]


async def test_a_service_that_hangs_costs_only_the_patience_of_those_who_wait(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    released = asyncio.Event()
    service.script.append(hang(released))
    with pytest.raises(errors.BackendTimeout, match="did not answer"):
        await call(channel, service.cluster(), seconds=0.3)
    released.set()
    async with asyncio.TaskGroup() as group:
        done = group.create_task(call(channel, service.cluster(), {"n": 2}))
        group.create_task(service.answer(1))
    assert done.result().result.value == {"n": 2}


async def test_what_was_sent_is_not_kept(service: ComputeDouble, channel: TaskChannel) -> None:
    class Argument(dict[str, object]):
        """A dict that can be watched."""

    argument = Argument(n=1)
    watched = weakref.ref(argument)
    waiting = asyncio.create_task(call(channel, service.cluster(), argument))
    del argument
    await eventually(lambda: channel.health.running)
    await eventually(lambda: gc.collect() >= 0 and watched() is None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
