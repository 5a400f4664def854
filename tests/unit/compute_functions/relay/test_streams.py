"""Requests and answers on a link that holds."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import pytest

from compute_functions.contract.failures import FailureCode
from compute_functions.contract.frames import MAX_DATA, WINDOW
from tests.support.eventually import eventually

EVENTS = {"tokens": 5}


def asking(**fields: object) -> bytes:
    return json.dumps(fields).encode()


async def test_an_answer_comes_byte_for_byte(between) -> None:
    asked = await between.hub.ask(asking(tokens=50), request_id="r-1")

    said = await asked.whole()

    assert said == between.engine.served["r-1"].said
    assert said.endswith(b"data: [DONE]\n\n")
    assert asked.head.status == 200
    assert asked.head.headers["content-type"] == "text/event-stream"
    assert 0 <= asked.end.engine_s <= asked.end.site_s


async def test_the_engine_gets_key_id_and_listed_headers_alone(between) -> None:
    headers = {"Content-Type": "application/json", "traceparent": "00-1", "x-forwarded-for": "me"}
    await (await between.hub.ask(request_id="r-1", headers=headers)).whole()

    served = between.engine.served["r-1"]
    got = {name.lower(): value for name, value in served.headers.items()}
    assert got["authorization"] == "Bearer the-engine's-key"
    assert (got["x-request-id"], got["traceparent"]) == ("r-1", "00-1")
    assert got["content-type"] == "application/json"
    assert "x-forwarded-for" not in got


async def test_a_path_leads_where_the_engine_has_it(between) -> None:
    await (await between.hub.ask(request_id="r-1", path="/v1/classify")).whole()

    assert between.engine.served["r-1"].path == "/classify"


async def test_many_streams_come_at_once(between) -> None:
    asked = [await between.hub.ask(asking(tokens=20, every_s=0.001)) for _ in range(200)]

    answers = [await one.whole() for one in asked]

    for one, answer in zip(asked, answers, strict=True):
        assert answer == between.engine.served[one.request.request_id].said
        assert answer.count(b"data: {") == 20


async def test_an_event_of_two_megabytes_comes_whole(between) -> None:
    asked = await between.hub.ask(asking(tokens=2, pad=2_000_000), request_id="r-1")

    said = await asked.whole()

    assert len(said) > 4_000_000
    assert said == between.engine.served["r-1"].said


async def test_a_large_body_reaches_the_engine(between) -> None:
    body = asking(tokens=1, text="x" * 3_000_000)

    await (await between.hub.ask(body, request_id="r-1")).whole()

    assert between.engine.served["r-1"].asked["text"] == "x" * 3_000_000


async def test_an_answer_in_one_piece_comes_too(between) -> None:
    asked = await between.hub.ask(asking(plain=1_000_000), request_id="r-1")

    assert await asked.whole() == between.engine.served["r-1"].said


async def test_an_error_of_the_engine_is_an_answer(between) -> None:
    asked = await between.hub.ask(asking(refuse=429))

    assert await asked.whole() == b'{"error": "no"}'
    assert asked.head.status == 429


async def test_a_full_window_stops_the_engine_and_credit_lets_it_go_on(between) -> None:
    held = await between.hub.ask(asking(tokens=100, pad=100_000), request_id="held", reads=False)
    await held.until(WINDOW)
    served = between.engine.served["held"]
    # Others are not held up by it; meanwhile the engine fills what lies between, and no more.
    for _ in range(20):
        await (await between.hub.ask(asking(tokens=2))).whole()
    assert len(held.said) == WINDOW
    assert not served.done.is_set()

    await between.hub.credit(held, WINDOW + 1000)
    await held.until(WINDOW + 1000)
    assert not served.done.is_set()
    held.reads = True
    await between.hub.credit(held, 2 * WINDOW)
    assert await held.whole() == served.said


async def test_a_cancelled_request_is_hung_up_on(between) -> None:
    asked = await between.hub.ask(asking(tokens=10, pause_at=3), request_id="r-1")
    await asked.until(10)

    await between.hub.cancel(asked)

    async with asyncio.timeout(10):
        await between.engine.served["r-1"].hung_up.wait()


async def test_a_request_that_waits_for_its_head_can_be_cancelled(between) -> None:
    asked = await between.hub.ask(asking(hang=True), request_id="r-1")
    await eventually(lambda: "r-1" in between.engine.served)

    await between.hub.cancel(asked)

    async with asyncio.timeout(10):
        await between.engine.served["r-1"].hung_up.wait()


async def test_a_request_whose_body_has_not_come_can_be_cancelled(between) -> None:
    asked = await between.hub.ask(asking(tokens=1), sends=3, request_id="r-1")
    await between.hub.cancel(asked)

    await (await between.hub.ask()).whole()
    assert "r-1" not in between.engine.served


async def test_an_id_runs_once(between) -> None:
    first = await between.hub.ask(asking(tokens=2, pause_at=2), request_id="r-1")
    second = await between.hub.ask(asking(tokens=2), request_id="r-1")
    assert (await second.failed()).code is FailureCode.DUPLICATE
    between.engine.go.set()
    await first.whole()

    third = await between.hub.ask(asking(tokens=2), request_id="r-1")

    assert (await third.failed()).code is FailureCode.DUPLICATE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"path": "/metrics"}, FailureCode.PATH_NOT_ALLOWED),
        ({"timeout_s": 0.0}, FailureCode.INVALID_REQUEST),
        ({"silence_s": 1e6}, FailureCode.INVALID_REQUEST),
        ({"body_bytes": 65 * 1024 * 1024}, FailureCode.INVALID_REQUEST),
        ({"headers": {"traceparent": "00-\x85"}}, FailureCode.INVALID_REQUEST),
    ],
)
async def test_what_may_not_run_is_refused(between, changes: dict, code: FailureCode) -> None:
    asked = await between.hub.ask(b"{}", **changes)

    assert (await asked.failed()).code is code
    assert between.engine.served == {}
    # The link goes on.
    await (await between.hub.ask(asking(tokens=1))).whole()


async def test_an_engine_that_breaks_off_before_its_head_may_have_run_it(between) -> None:
    asked = await between.hub.ask(asking(break_at=0))

    assert (await asked.failed()).code is FailureCode.ENGINE_BROKE_OFF
    assert asked.head is None


async def test_an_engine_that_breaks_off_within_its_answer_is_no_end(between) -> None:
    asked = await between.hub.ask(asking(tokens=5, break_at=3), request_id="r-1")

    assert (await asked.failed()).code is FailureCode.ENGINE_BROKE_OFF
    assert asked.said == between.engine.served["r-1"].said


async def test_nobody_waits_longer_for_the_head_than_asked(between) -> None:
    asked = await between.hub.ask(asking(hang=True), request_id="r-1", timeout_s=0.05)

    assert (await asked.failed()).code is FailureCode.ENGINE_TIMEOUT
    async with asyncio.timeout(10):
        await between.engine.served["r-1"].hung_up.wait()


async def test_a_stream_may_last_longer_than_its_head(between) -> None:
    asked = await between.hub.ask(asking(tokens=10, every_s=0.05), timeout_s=0.2)

    assert (await asked.whole()).count(b"data: {") == 10


async def test_an_engine_may_be_silent_only_for_so_long(between) -> None:
    asked = await between.hub.ask(asking(tokens=5, pause_at=3), request_id="r-1", silence_s=0.05)

    assert (await asked.failed()).code is FailureCode.ENGINE_TIMEOUT
    assert asked.said.count(b"data: {") == 2
    async with asyncio.timeout(10):
        await between.engine.served["r-1"].hung_up.wait()


async def test_a_slow_reader_s_time_is_not_the_engine_s(between) -> None:
    asked = await between.hub.ask(
        asking(tokens=10, pad=100_000), reads=False, silence_s=0.05, timeout_s=5
    )
    await asked.until(WINDOW)
    await asyncio.sleep(0.2)  # longer than the engine may be silent
    asked.reads = True

    await between.hub.credit(asked, 2 * WINDOW)

    assert (await asked.whole()).count(b"data: {") == 10


async def test_a_body_that_does_not_come_is_not_waited_for(between) -> None:
    asked = await between.hub.ask(b"{} ", sends=2, timeout_s=0.05)

    assert (await asked.failed()).code is FailureCode.EXPIRED


async def test_the_rest_of_a_body_that_came_too_late_breaks_no_link(between) -> None:
    other = await between.hub.ask(asking(tokens=2, pause_at=2))
    late = await between.hub.ask(b" " * 3 * MAX_DATA, sends=MAX_DATA, timeout_s=0.05)
    # Until it has heard of the end, as when both cross, a hub sends on.
    between.hub.acknowledges = False
    assert (await late.failed()).code is FailureCode.EXPIRED
    await between.hub.rest(late, MAX_DATA)
    between.engine.go.set()

    assert (await other.whole()).endswith(b"data: [DONE]\n\n")
    assert between.hub.resumed == [False]


async def test_a_body_is_not_kept_once_the_engine_has_it(between) -> None:
    body = asking(tokens=2, pause_at=2, text="x" * 10_000_000)
    tracemalloc.start()
    try:
        asked = await between.hub.ask(body)
        await asked.until(10)
        ours = tracemalloc.Filter(inclusive=True, filename_pattern="*/compute_functions/*")
        kept = tracemalloc.take_snapshot().filter_traces([ours]).statistics("filename")
    finally:
        tracemalloc.stop()
    between.engine.go.set()
    await asked.whole()

    assert sum(one.size for one in kept) < len(body) / 10


async def test_the_engine_s_load_is_told_and_told_again_when_it_changes(between) -> None:
    await between.hub.until(lambda: between.hub.loads)
    between.engine.running, between.engine.waiting = 3, 7

    await between.hub.until(lambda: len(between.hub.loads) > 1)

    loads = [(load.running, load.waiting) for load in between.hub.loads]
    assert loads == [(1.0, 0.0), (4.0, 7.0)]
