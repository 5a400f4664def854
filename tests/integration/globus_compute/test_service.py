"""The calls to the service, one by one: what is sent, and what a strange reply means."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from resource_server.adapters.globus_compute.credentials import ClientCredentials
from resource_server.adapters.globus_compute.failures import CallFailed, Fate
from resource_server.adapters.globus_compute.service import (
    ComputeService,
    ServiceAddresses,
    Submission,
)
from resource_server.services.supervision import forever
from tests.support.compute_double import ENDPOINT, FUNCTION, STATUS_FUNCTION, ComputeDouble


@pytest_asyncio.fixture
async def compute(service: ComputeDouble) -> AsyncIterator[ComputeService]:
    credentials = ClientCredentials.read(service.clients, "local")
    compute = ComputeService(credentials, service.addresses)
    yield compute
    compute.close()


async def test_a_receipt_names_the_tasks_of_each_function_in_order(
    service: ComputeDouble, compute: ComputeService
) -> None:
    submission = Submission(
        endpoint_id=ENDPOINT,
        user_endpoint_config={},
        arguments={FUNCTION: [{"n": 0}, {"n": 1}], STATUS_FUNCTION: [{"v": 1}]},
        group=None,
    )
    receipt = await asyncio.to_thread(compute.submit, submission)
    sent = {name: [service.tasks[id_] for id_ in ids] for name, ids in receipt.tasks.items()}
    assert sent == submission.arguments
    again = await asyncio.to_thread(compute.submit, submission)
    assert again.group != receipt.group


async def test_one_token_serves_all_calls(service: ComputeDouble, compute: ComputeService) -> None:
    await asyncio.to_thread(compute.queue_address)
    await asyncio.to_thread(compute.endpoint_status, ENDPOINT)
    assert service.calls == ["token", "queue", "status"]


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("queue", lambda compute: compute.queue_address()),
        ("status", lambda compute: compute.endpoint_status(ENDPOINT)),
        ("records", lambda compute: compute.task_records(["1"])),
    ],
)
async def test_a_reply_that_says_nothing_is_a_failure(
    service: ComputeDouble,
    compute: ComputeService,
    name: str,
    ask: Callable[[ComputeService], object],
) -> None:
    service.empty.add(name)
    with pytest.raises(CallFailed, match="cannot be read") as caught:
        await asyncio.to_thread(ask, compute)
    assert caught.value.fate is Fate.UNKNOWN


async def test_a_proxy_that_is_away_never_passed_anything_on(
    monkeypatch: pytest.MonkeyPatch, service: ComputeDouble
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    addresses = ServiceAddresses(auth=service.addresses.auth, compute="http://compute.invalid")
    compute = ComputeService(ClientCredentials.read(service.clients, "local"), addresses)
    submission = Submission(
        endpoint_id=ENDPOINT, user_endpoint_config={}, arguments={FUNCTION: [{}]}, group=None
    )
    with pytest.raises(CallFailed) as caught:
        await asyncio.to_thread(compute.submit, submission)
    compute.close()
    assert service.calls == ["token"]
    assert caught.value.fate is Fate.NOT_SENT


async def test_a_failed_round_does_not_end_the_work() -> None:
    rounds: list[int] = []
    enough = asyncio.Event()

    async def work() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise RuntimeError("a bug")
        enough.set()
        await asyncio.sleep(3600)

    loop = asyncio.create_task(forever("work", work))
    await asyncio.wait_for(enough.wait(), 10)
    loop.cancel()
    assert rounds == [0, 1]
