"""Results come through broken connections, restarts and rubbish; lost ones are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Result
from structlog.testing import capture_logs

from resource_server.adapters.globus_compute import amqp
from resource_server.adapters.globus_compute.calls import Call, Lane
from resource_server.adapters.globus_compute.channel import TaskChannel
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.inbox import Inbox
from resource_server.adapters.globus_compute.messages import UNREADABLE
from resource_server.adapters.globus_compute.recovery import OVERDUE_S, Recovery
from resource_server.adapters.globus_compute.results import THREAD_FROM, Link, ResultStream
from tests.support.compute_double import ComputeDouble, call
from tests.support.eventually import eventually


async def test_what_arrives_while_nobody_listens_is_there_afterwards(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    waiting = asyncio.create_task(call(channel, service.cluster(), {"n": 1}))
    await service.accepted(1)
    await eventually(lambda: channel.health.link is Link.CONNECTED)
    await service.stop_broker()
    await eventually(lambda: channel.health.link is Link.CONNECTING)
    await service.start_broker()
    await service.answer(1)
    assert (await waiting).result.value == {"n": 1}
    assert service.calls.count("queue") >= 2


async def test_rubbish_and_duplicates_stop_nothing(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    cluster = service.cluster()
    calls = [asyncio.create_task(call(channel, cluster, {"n": n})) for n in range(2)]
    first, second = await service.accepted(2)
    with capture_logs() as logs:
        await service.send(b"rubbish")
        for task_id in (first, first, second):
            await service.finish(task_id, task_id)
        values = {(await each).result.value for each in calls}
    assert values == {first, second}
    assert "globus_result_unreadable" in [entry["event"] for entry in logs]


async def test_what_was_handled_is_not_delivered_again(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    async def answered() -> str:
        service.tasks.clear()
        waiting = asyncio.create_task(call(channel, service.cluster()))
        ((task_id, argument),) = (await service.accepted(1)).items()
        await service.finish(task_id, argument)
        await waiting
        return task_id

    first = await answered()
    await answered()  # Meanwhile the broker has read that the first was dealt with.
    with capture_logs() as logs:
        await service.stop_broker()
        await service.start_broker()
        await eventually(lambda: channel.health.link is Link.CONNECTED)
        await answered()
    repeated = [each["task_id"] for each in logs if each["event"] == "globus_result_unclaimed"]
    assert first not in repeated


async def test_a_large_result_arrives(service: ComputeDouble, channel: TaskChannel) -> None:
    waiting = asyncio.create_task(call(channel, service.cluster()))
    ((task_id, _),) = (await service.accepted(1)).items()
    await service.finish(task_id, "x" * (4 * THREAD_FROM))
    result = (await waiting).result
    assert len(str(result.value)) == 4 * THREAD_FROM
    assert result.size > 4 * THREAD_FROM


@pytest.mark.parametrize("nested", [100_000, 2 * THREAD_FROM])
async def test_a_result_that_cannot_be_read_harms_its_own_request_alone(
    service: ComputeDouble, channel: TaskChannel, nested: int
) -> None:
    cluster = service.cluster()
    calls = [asyncio.create_task(call(channel, cluster, {"n": n})) for n in range(2)]
    tasks = {argument["n"]: task_id for task_id, argument in (await service.accepted(2)).items()}
    await service.send(messagepack.pack(Result(task_id=tasks[0], data="11\n" + "[" * nested)))
    await service.send(b"\x01" + b"[" * nested)
    await service.finish(tasks[1], "fine")
    assert (await calls[1]).result.value == "fine"
    assert (await calls[0]).result.failure_code == UNREADABLE
    with capture_logs() as logs:
        await service.stop_broker()
        await service.start_broker()
        await eventually(lambda: channel.health.link is Link.CONNECTED)
        service.tasks.clear()
        last = asyncio.create_task(call(channel, cluster))
        await service.answer(1)
        await last
    assert not {"globus_result_unreadable", "globus_result_unclaimed"} & {
        entry["event"] for entry in logs
    }


async def test_no_address_means_another_attempt(
    service: ComputeDouble, channel: TaskChannel
) -> None:
    service.fail("queue", 503, 500)
    async with asyncio.TaskGroup() as group:
        done = group.create_task(call(channel, service.cluster(), {"n": 1}))
        group.create_task(service.answer(1))
    assert done.result().result.value == {"n": 1}
    assert service.calls.count("queue") == 3


async def test_a_broken_address_does_not_show_its_password() -> None:
    with pytest.raises(amqp.SubscriptionLost) as caught:
        async with amqp.subscribed("http://user:hunter2@host/", "queue", lambda *_: None):
            pass
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_queue_that_does_not_exist_is_a_lost_subscription(service: ComputeDouble) -> None:
    with pytest.raises(amqp.SubscriptionLost, match="404"):
        async with amqp.subscribed(service.amqp_url, "no such queue", lambda *_: None):
            pass


async def test_a_broker_that_is_away_is_a_lost_subscription(service: ComputeDouble) -> None:
    await service.stop_broker()
    with pytest.raises(amqp.SubscriptionLost):
        async with amqp.subscribed(service.amqp_url, "queue", lambda *_: None):
            pass


class StreamThatBroke(ResultStream):
    """A stream that is connected again after a loss."""

    def break_now(self) -> None:
        self.link, self.lost_at = Link.CONNECTED, asyncio.get_running_loop().time()


@asynccontextmanager
async def recovering(
    client: ComputeClient,
) -> AsyncIterator[tuple[Inbox, StreamThatBroke, Recovery]]:
    inbox = Inbox()
    stream = StreamThatBroke(client, inbox)
    async with client:
        yield inbox, stream, Recovery(client, inbox, stream, every_s=0.0)


def running(task_id: str, *, since_s: float) -> Call:
    now = asyncio.get_running_loop().time()
    return Call(
        lane=Lane.of("e", {}),
        function_id="f",
        argument={},
        size=1,
        deadline=now + 600,
        queued_at=now - since_s,
        submitted_at=now - since_s,
        task_id=task_id,
    )


async def test_after_a_broken_connection_results_are_asked_for_once(
    service: ComputeDouble, client: ComputeClient
) -> None:
    async with recovering(client) as (inbox, stream, recovery):
        lost, unfinished = running("lost", since_s=1), running("unfinished", since_s=1)
        inbox.expect(lost)
        inbox.expect(unfinished)
        stream.break_now()
        service.records["lost"] = {"task_id": "lost", "status": "success", "result": "11\n[1]"}
        for _ in range(3):
            await recovery.run_once()
    assert lost.result.result().value == [1]
    assert not unfinished.result.done()
    assert service.calls.count("records") == 1


async def test_what_takes_long_is_asked_for_now_and_then(
    service: ComputeDouble, client: ComputeClient
) -> None:
    async with recovering(client) as (inbox, _, recovery):
        overdue, fresh = running("overdue", since_s=OVERDUE_S + 1), running("fresh", since_s=1)
        inbox.expect(overdue)
        inbox.expect(fresh)
        service.records["overdue"] = {"status": "failed", "exception": "Traceback"}
        service.records["fresh"] = {"status": "success", "result": "11\n1"}
        await recovery.run_once()
        await recovery.run_once()
    assert overdue.result.result().failure_text == "Traceback"
    assert not fresh.result.done()
    assert service.calls.count("records") == 1


async def test_a_failed_question_is_no_disaster(
    service: ComputeDouble, client: ComputeClient
) -> None:
    service.fail("records", 500)
    async with recovering(client) as (inbox, _, recovery):
        overdue = running("overdue", since_s=OVERDUE_S + 1)
        inbox.expect(overdue)
        await recovery.run_once()
    assert not overdue.result.done()
