"""The order of a cluster's ways, and when the next one is taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from resource_server.adapters.transports import Transports
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster, Transport
from resource_server.domain.inference import InferenceAnswer, InferenceRequest, Stopped
from tests.support.carriers import (
    CarrierThatAnswers,
    CarrierThatFails,
    CarrierThatHangs,
    CarrierThatServesNobody,
)

RELAY, TASK, DIRECT = Transport.RELAY, Transport.TASK, Transport.DIRECT
REQUEST = InferenceRequest(
    request_id="r", framework="vllm", model="m", path="/v1/completions", body=b"{}", timeout_s=30.0
)


def cluster(*transports: Transport) -> Cluster:
    return Cluster(
        name="c", description="", frameworks={}, transports=transports, request_timeout_s=30.0
    )


def not_run(after_s: float = 2.0) -> errors.HotnodeError:
    error: errors.HotnodeError = errors.BackendUnavailable("lost just now")
    error.retry_after_s = after_s
    return error


def may_have_run() -> errors.HotnodeError:
    error: errors.HotnodeError = errors.BackendUnavailable("may have run")
    error.retry_after_s = None
    return error


async def carried_by(transports: Transports, at: Cluster) -> set[str]:
    """Return which transports carry a whole answer and a stream."""
    answer = await transports.infer(at, REQUEST)
    stream = await transports.stream(at, REQUEST)
    assert b"".join([piece async for piece in stream]) == answer.body == b"one two"
    return {answer.transport, stream.head.transport}


@pytest.mark.parametrize(
    ("order", "expected"),
    [((RELAY, TASK), "relay"), ((TASK, RELAY), "task"), ((DIRECT, RELAY, TASK), "direct")],
)
async def test_the_catalog_s_order_is_kept(order, expected):
    carriers = {each: CarrierThatAnswers(each.value) for each in (TASK, RELAY, DIRECT)}
    assert await carried_by(Transports(carriers), cluster(*order)) == {expected}
    assert sum(len(carrier.asked) for carrier in carriers.values()) == 2


async def test_a_way_that_is_not_open_is_passed_over_unasked():
    closed = CarrierThatServesNobody()
    transports = Transports({RELAY: closed, TASK: CarrierThatAnswers("task")})
    assert await carried_by(transports, cluster(RELAY, TASK)) == {"task"}
    assert closed.asked == []


async def test_a_way_that_the_catalog_does_not_name_is_not_taken():
    other = CarrierThatAnswers("direct")
    transports = Transports({RELAY: CarrierThatServesNobody(), DIRECT: other})
    for ask in (transports.infer, transports.stream):
        with pytest.raises(errors.ModelNotRunning):
            await ask(cluster(RELAY), REQUEST)
    assert other.asked == []


@pytest.mark.parametrize(
    "error", [not_run(), errors.ModelNotRunning(), errors.PayloadTooLarge(limit_bytes=10)]
)
async def test_what_surely_did_not_run_goes_the_next_way_with_what_is_left_of_the_time(error):
    next_one = CarrierThatAnswers("task")
    transports = Transports({RELAY: CarrierThatFails(error), TASK: next_one})
    with capture_logs() as logs:
        assert await carried_by(transports, cluster(RELAY, TASK)) == {"task"}
    assert [entry["event"] for entry in logs] == ["transport_failed"] * 2
    assert logs[0]["transport"] == "relay"
    assert all(0 < asked.timeout_s < REQUEST.timeout_s for asked in next_one.asked)


@pytest.mark.parametrize(
    "error",
    [may_have_run(), errors.BackendTimeout(), errors.BackendInterrupted(), errors.InvalidRequest()],
)
async def test_what_may_have_run_goes_no_other_way(error):
    other = CarrierThatAnswers("task")
    transports = Transports({RELAY: CarrierThatFails(error), TASK: other})
    for ask in (transports.infer, transports.stream):
        with pytest.raises(type(error)):
            await ask(cluster(RELAY, TASK), REQUEST)
    assert other.asked == []


async def test_a_stream_that_has_begun_goes_no_other_way():
    other = CarrierThatAnswers("task")
    broken = CarrierThatAnswers("relay", broken=not_run())
    stream = await Transports({RELAY: broken, TASK: other}).stream(cluster(RELAY, TASK), REQUEST)
    came: list[bytes] = []
    with pytest.raises(errors.BackendUnavailable):
        await _gather(stream, came)
    assert (b"".join(came), other.asked) == (b"one two", [])


async def _gather(stream: Any, came: list[bytes]) -> None:
    async for piece in stream:
        came += [piece]


async def test_the_last_way_s_failure_is_the_one_that_is_told():
    transports = Transports(
        {RELAY: CarrierThatFails(not_run()), TASK: CarrierThatFails(errors.ModelNotRunning())}
    )
    for ask in (transports.infer, transports.stream):
        with pytest.raises(errors.ModelNotRunning):
            await ask(cluster(RELAY, TASK), REQUEST)


async def test_no_time_left_is_no_other_way():
    class CarrierThatTakesAllTheTime(CarrierThatFails):
        async def stream(self, cluster: Any, request: Any) -> Any:
            await asyncio.sleep(request.timeout_s)
            return await super().stream(cluster, request)

    other = CarrierThatAnswers("task")
    transports = Transports({RELAY: CarrierThatTakesAllTheTime(not_run()), TASK: other})
    hasty = InferenceRequest(
        request_id="r", framework="v", model="m", path="/v1/x", body=b"{}", timeout_s=0.01
    )
    with pytest.raises(errors.BackendUnavailable):
        await transports.stream(cluster(RELAY, TASK), hasty)
    assert other.asked == []


async def test_a_gateway_without_the_way_says_so():
    transports = Transports({TASK: CarrierThatAnswers("task")})
    for ask in (transports.infer, transports.stream):
        with pytest.raises(errors.BackendUnavailable, match="operators"):
            await ask(cluster(RELAY), REQUEST)


async def test_who_leaves_is_told_late_once():
    late: list[InferenceAnswer | Stopped | None] = []
    transports = Transports({RELAY: CarrierThatHangs(), TASK: CarrierThatAnswers("task")})
    asking = asyncio.create_task(transports.infer(cluster(RELAY, TASK), REQUEST, late=late.append))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert late == [None]
