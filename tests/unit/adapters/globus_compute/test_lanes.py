"""Which waiting calls go together, and which are dropped."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from resource_server.adapters.globus_compute.calls import Call, Lane
from resource_server.adapters.globus_compute.lanes import BATCH_BYTES, BATCH_TASKS, Lanes

FIRST = Lane.of("first", {})
SECOND = Lane.of("second", {})


def call(lane: Lane = FIRST, *, size: int = 100, queued_at: float = 0.0) -> Call:
    return Call(
        lane=lane,
        function_id="f",
        argument={},
        size=size,
        deadline=1000.0,
        queued_at=queued_at,
    )


async def test_calls_of_one_lane_go_together_in_their_order() -> None:
    lanes, calls = Lanes(), [call() for _ in range(3)]
    for each in calls:
        lanes.add(each)
    batch = lanes.next_batch(now=1.0)
    assert batch is not None
    assert batch.calls == tuple(calls)
    assert lanes.next_batch(now=1.0) is None
    assert (len(lanes), lanes.size) == (0, 0)


async def test_the_lane_that_waited_longest_goes_first() -> None:
    lanes = Lanes()
    late, early = call(FIRST, queued_at=2.0), call(SECOND, queued_at=1.0)
    lanes.add(late)
    lanes.add(early)
    order = [lanes.next_batch(now=3.0), lanes.next_batch(now=3.0)]
    assert [batch.lane for batch in order if batch] == [SECOND, FIRST]


async def test_a_lane_is_an_endpoint_and_its_configuration() -> None:
    assert Lane.of("e", {"a": 1, "b": 2}) == Lane.of("e", {"b": 2, "a": 1})
    assert Lane.of("e", {"a": 1}) != Lane.of("e", {"a": 2})
    assert Lane.of("e", {"a": {"b": [1]}}).user_endpoint_config == {"a": {"b": [1]}}


async def test_who_has_left_or_waited_too_long_is_not_sent() -> None:
    lanes, gone, late, patient = Lanes(), call(), call(), call()
    late.deadline = 5.0
    for each in (gone, late, patient):
        lanes.add(each)
    gone.result.cancel()
    batch = lanes.next_batch(now=5.0)
    assert batch is not None
    assert batch.calls == (patient,)
    assert lanes.size == 0


async def test_what_is_put_back_goes_first_again() -> None:
    lanes, first, second, third = Lanes(), call(), call(), call()
    lanes.add(first)
    lanes.add(second)
    batch = lanes.next_batch(now=1.0)
    assert batch is not None
    lanes.add(third)
    lanes.put_back(batch.lane, batch.calls)
    again = lanes.next_batch(now=1.0)
    assert again is not None
    assert again.calls == (first, second, third)


async def test_nothing_put_back_is_nothing() -> None:
    lanes = Lanes()
    lanes.put_back(FIRST, [])
    assert lanes.next_batch(now=1.0) is None


async def test_filled_waits_for_a_call_and_again_after_the_last_has_gone() -> None:
    lanes = Lanes()
    waiting = asyncio.create_task(lanes.filled())
    await asyncio.sleep(0)
    assert not waiting.done()
    lanes.add(first := call())
    await asyncio.wait_for(waiting, 1)
    lanes.discard(first)
    waiting = asyncio.create_task(lanes.filled())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_call_that_fills_a_submission_goes_alone() -> None:
    lanes = Lanes()
    for size in (BATCH_BYTES, 1):
        lanes.add(call(size=size))
    sizes = [batch.size for batch in (lanes.next_batch(0.0), lanes.next_batch(0.0)) if batch]
    assert sizes == [BATCH_BYTES, 1]


@given(st.lists(st.integers(min_value=1, max_value=BATCH_BYTES), max_size=300))
def test_batches_keep_the_limits_and_lose_nothing(sizes: list[int]) -> None:
    async def run() -> None:
        lanes, sent = Lanes(), []
        for size in sizes:
            lanes.add(call(size=size))
        while (batch := lanes.next_batch(now=0.0)) is not None:
            assert 0 < len(batch.calls) <= BATCH_TASKS
            assert batch.size <= BATCH_BYTES
            sent += [each.size for each in batch.calls]
        assert sent == sizes

    asyncio.run(run())


async def test_the_argument_carries_what_is_left_of_the_patience() -> None:
    waiting = call()
    waiting.argument = {"timeout_s": 30.0, "model": "m"}
    waiting.deadline = 100.0
    assert waiting.current_argument(97.5) == {"timeout_s": 2.5, "model": "m"}
    waiting.argument = {"v": 1}
    assert waiting.current_argument(0.0) == {"v": 1}
