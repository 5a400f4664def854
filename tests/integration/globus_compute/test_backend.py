"""The backend bounds what the requests under way hold in memory, waiting or sent."""

from __future__ import annotations

import asyncio

import pytest

from resource_server.adapters.globus_compute import GlobusComputeBackend
from resource_server.domain import errors
from resource_server.domain.inference import InferenceRequest
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
    async with GlobusComputeBackend(
        service.clients, addresses=service.addresses, bodies_bytes=LIMIT
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
