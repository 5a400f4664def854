from __future__ import annotations

import asyncio

import pytest

from resource_server.api.exchange import WATCH_AFTER_S


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """Nothing of this is an error."""
    yield
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_waiting_view_is_cancelled_and_cleans_up(front, views):
    async with await front.connect() as client:
        await client.send("GET /wait HTTP/1.1\nHost: localhost")
        await views.expect("waiting")
    await views.expect("cancelled")
    await views.expect("cleaned up")
    line = await front.log.line_of("/wait")
    assert (line["status"], line["client"], line["bytes_out"]) == (499, "left", 0)


async def test_a_client_that_leaves_after_a_slow_upload_is_noticed(front, views):
    async with await front.connect() as client:
        await client.send("POST /wait HTTP/1.1\nHost: localhost\nContent-Length: 8", b"half")
        await asyncio.sleep(2 * WATCH_AFTER_S)
        await client.send_bytes(b"half")
        await views.expect("waiting")
    await views.expect("cancelled")
    await views.expect("cleaned up")
    assert (await front.log.line_of("/wait"))["status"] == 499


async def test_a_view_that_goes_on_all_the_same_harms_nothing(front, views):
    async with await front.connect() as client:
        await client.send("GET /stubborn HTTP/1.1\nHost: localhost")
        await views.expect("waiting")
    await views.expect("cancelled")
    assert (await front.log.line_of("/stubborn"))["status"] == 499


async def test_a_stream_is_closed_in_its_own_task(front, views):
    async with await front.connect() as client:
        await client.send("GET /stream HTTP/1.1\nHost: localhost")
        await client.read_until(b"data: 1\n\n")
    await views.expect("closed in its task")
    line = await front.log.line_of("/stream")
    assert (line["status"], line["bytes_out"]) == (499, len("data: 1\n\n"))


async def test_a_stream_that_ends_is_closed_and_not_taken_for_abandoned(front, views):
    async with front.client.get("stream") as response:
        views.release.set()
        assert await response.read() == b"data: 1\n\ndata: 2\n\n"
    await views.expect("closed in its task")
    assert (await front.log.line_of("/stream"))["status"] == 200


async def test_a_plain_generator_is_closed_after_its_step(front, views):
    async with await front.connect() as client:
        await client.send("GET /ticks HTTP/1.1\nHost: localhost")
        await client.read_until(b"tick ")
    assert (await front.log.line_of("/ticks"))["status"] == 499
    assert views.seen["closed"]


@pytest.mark.parametrize("stall_timeout_s", [0.2])
async def test_a_client_that_does_not_read_holds_the_stream_back_and_is_given_up(
    stall_timeout_s, front, views, caplog
):
    async with await front.connect() as client:
        await client.send("GET /endless HTTP/1.1\nHost: localhost")
        await views.expect("closed in its task")
        line = await front.log.line_of("/endless")
    assert (line["status"], line["client"]) == (499, "stalled")
    assert views.produced < 50_000_000
    caplog.clear()  # the server says that the answer has no end


async def test_a_client_that_reads_slowly_is_no_client_that_stalls(front, views):
    async with await front.connect() as client:
        await client.send("GET /stream HTTP/1.1\nHost: localhost")
        await client.read_until(b"data: 1\n\n")
        views.release.set()
        await client.read_until(b"0\r\n\r\n")
    assert (await front.log.line_of("/stream"))["status"] == 200
