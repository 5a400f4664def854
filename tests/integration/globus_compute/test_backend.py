"""The backend bounds what the requests under way hold in memory, waiting or sent."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from resource_server.adapters.globus_compute import GlobusComputeBackend
from resource_server.domain import errors
from resource_server.domain.inference import InferenceAnswer, InferenceRequest, Stopped
from tests.support.compute_double import ComputeDouble
from tests.support.eventually import eventually

LIMIT = 10_000


def request(size: int) -> InferenceRequest:
    return InferenceRequest(
        request_id="r",
        framework="vllm",
        model="m",
        path="/v1/completions",
        body=b"x" * size,
        timeout_s=30.0,
    )


async def test_requests_that_run_count_until_they_end(service: ComputeDouble) -> None:
    cluster = service.cluster()
    # One cluster has half of it.
    async with GlobusComputeBackend(
        service.clients, addresses=service.addresses, bodies_bytes=2 * LIMIT
    ) as backend:
        running = asyncio.create_task(backend.infer(cluster, request(LIMIT - 10)))
        await service.accepted(1)
        await eventually(lambda: backend.probe()[0].running)
        with pytest.raises(errors.BackendUnavailable, match="under way"):
            await backend.infer(cluster, request(11))
        assert len(service.tasks) == 1
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        again = asyncio.create_task(backend.infer(cluster, request(LIMIT)))
        await service.accepted(2)
        again.cancel()
        with pytest.raises(asyncio.CancelledError):
            await again


@pytest.mark.parametrize(
    ("code", "worth"), [("model_not_running", True), ("engine_unreachable", False)]
)
async def test_only_what_did_not_run_is_worth_another_try(
    service: ComputeDouble, code: str, worth: bool
) -> None:
    said = {"v": 1, "kind": "failure", "code": code, "message": ""}
    async with GlobusComputeBackend(service.clients, addresses=service.addresses) as backend:
        asking = asyncio.create_task(backend.infer(service.cluster(), request(1)))
        (task_id,) = await service.accepted(1)
        await service.finish(task_id, said)
        with pytest.raises(errors.UpstreamError) as caught:
            await asking
    assert (caught.value.retry_after_s is not None) is worth
    assert caught.value.task_id == task_id


ANSWER = {
    "v": 1,
    "kind": "answer",
    "status": 200,
    "headers": {},
    "body": {"text": "late"},
    "engine_s": 1.0,
    "site_s": 1.0,
}


async def test_who_leaves_after_it_was_sent_is_told_late_what_came_of_it(
    service: ComputeDouble,
) -> None:
    told: asyncio.Queue[InferenceAnswer | Stopped | None] = asyncio.Queue()
    async with GlobusComputeBackend(service.clients, addresses=service.addresses) as backend:
        asking = asyncio.create_task(
            backend.infer(service.cluster(), request(1), late=told.put_nowait)
        )
        (task_id,) = await service.accepted(1)
        await eventually(lambda: backend.probe()[0].running)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert told.empty()
        await service.finish(task_id, ANSWER)
        answer = await asyncio.wait_for(told.get(), 10)
        assert answer is not None
        assert (answer.body, answer.task_id) == (b"late", task_id)
        assert backend.probe()[0].running == 0
    assert told.empty()


async def test_a_failure_that_comes_late_is_told_as_nothing_known(service: ComputeDouble) -> None:
    told: asyncio.Queue[InferenceAnswer | Stopped | None] = asyncio.Queue()
    said = {"v": 1, "kind": "failure", "code": "engine_unreachable", "message": ""}
    async with GlobusComputeBackend(service.clients, addresses=service.addresses) as backend:
        asking = asyncio.create_task(
            backend.infer(service.cluster(), request(1), late=told.put_nowait)
        )
        (task_id,) = await service.accepted(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await service.finish(task_id, said)
        assert await asyncio.wait_for(told.get(), 10) is None


async def test_who_leaves_before_it_was_sent_takes_the_request_along(
    service: ComputeDouble,
) -> None:
    told: asyncio.Queue[InferenceAnswer | Stopped | None] = asyncio.Queue()
    async with GlobusComputeBackend(
        service.clients, addresses=service.addresses, allowance=4
    ) as backend:
        sent = asyncio.create_task(backend.infer(service.cluster(), request(1)))
        await service.accepted(1)
        waiting = asyncio.create_task(
            backend.infer(service.cluster(), request(1), late=told.put_nowait)
        )
        await eventually(lambda: backend.probe()[0].queued)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.wait_for(told.get(), 10) is None
        assert backend.probe()[0].queued == 0
        assert len(service.tasks) == 1
        sent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sent


async def test_a_gateway_that_stops_tells_that_nothing_is_known(service: ComputeDouble) -> None:
    told: asyncio.Queue[InferenceAnswer | Stopped | None] = asyncio.Queue()
    async with GlobusComputeBackend(service.clients, addresses=service.addresses) as backend:
        asking = asyncio.create_task(
            backend.infer(service.cluster(), request(1), late=told.put_nowait)
        )
        await service.accepted(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.sleep(0)  # The call that was left is seen through in a task of its own.
    assert await asyncio.wait_for(told.get(), 10) is None


async def test_who_leaves_while_the_service_refuses_is_not_sent_again(
    service: ComputeDouble,
) -> None:
    told: asyncio.Queue[InferenceAnswer | Stopped | None] = asyncio.Queue()
    released = asyncio.Event()

    async def throttle(_: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.json_response({"code": 429, "reason": "slow down"}, status=429)

    service.script.append(throttle)
    async with GlobusComputeBackend(service.clients, addresses=service.addresses) as backend:
        asking = asyncio.create_task(
            backend.infer(service.cluster(), request(1), late=told.put_nowait)
        )
        await service.submitted(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        released.set()
        assert await asyncio.wait_for(told.get(), 10) is None
        assert backend.probe()[0].queued == 0
    assert service.tasks == {}
