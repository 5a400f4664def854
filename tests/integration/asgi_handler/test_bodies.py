from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import pytest

from resource_server.api.body import MEMORY_BYTES

LIMIT = 5_000_000


async def parts(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield bytes(size)


@pytest.mark.parametrize("size", [0, 1, MEMORY_BYTES + 1, LIMIT])
async def test_a_body_up_to_the_limit_arrives(front, size):
    body = b"x" * size
    async with front.client.post("echo", data=BytesIO(body)) as response:
        assert response.status == 200
        assert await response.read() == body


async def test_a_body_in_chunks_arrives(front):
    async with front.client.post("echo", data=parts(1000, 0, LIMIT - 1000)) as response:
        assert response.status == 200
        assert await response.read() == bytes(LIMIT)


async def test_a_body_that_declares_too_much_is_refused_before_it_is_sent(front):
    async with await front.connect() as client:
        await client.send(f"POST /echo HTTP/1.1\nHost: localhost\nContent-Length: {LIMIT + 1}")
        status, headers, body = await client.response()
    assert status == 413
    assert b'"code":"payload_too_large"' in body
    assert "x-request-id" in headers
    assert [line["status"] for line in front.log.lines()] == [413]


async def test_a_body_that_turns_out_too_large_is_refused_and_the_connection_lives(front):
    for _ in range(2):
        async with front.client.post("echo", data=parts(LIMIT, 1)) as response:
            assert response.status == 413
            assert (await response.json())["error"]["code"] == "payload_too_large"
    async with front.client.get("plain") as response:
        assert await response.text() == "plain"


@pytest.mark.parametrize("size", [10, MEMORY_BYTES + 1])
async def test_an_uploaded_file_reaches_the_view(front, size):
    form = aiohttp.FormData()
    form.add_field("file", BytesIO(b"x" * (size - 3) + b"end"), filename="lines.jsonl")
    async with front.client.post("api/upload", data=form) as response:
        assert response.status == 200
        assert await response.json() == {"name": "lines.jsonl", "size": size, "ends": "end"}


@pytest.mark.parametrize("stall_timeout_s", [0.05])
async def test_a_body_that_stalls_is_given_up(stall_timeout_s, front):
    async with await front.connect() as client:
        await client.send("POST /echo HTTP/1.1\nHost: localhost\nContent-Length: 10", b"half")
        status, headers, body = await client.response()
        assert status == 408
        assert headers["connection"] == "close"
        assert b'"code":"request_timeout"' in body
        assert await client.rest() == b""
    assert [line["status"] for line in front.log.lines()] == [408]


async def test_a_client_that_leaves_while_it_sends_reaches_no_view(front, caplog):
    async with await front.connect() as client:
        await client.send("POST /echo HTTP/1.1\nHost: localhost\nContent-Length: 10", b"half")
        async with front.client.get("plain") as response:
            assert response.status == 200
    line = await front.log.line_of("/echo")
    assert (line["status"], line["client"]) == (499, "left")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("limits", [{"timeout_s": 0.2}])
async def test_a_body_that_trickles_is_given_up_in_the_end(limits, front):
    async with await front.connect() as client:
        await client.send("POST /echo HTTP/1.1\nHost: localhost\nContent-Length: 10", b"half")
        status, headers, body = await client.response()
        assert (status, headers["connection"]) == (408, "close")
        assert b"took too long" in body
    assert [line["status"] for line in front.log.lines()] == [408]


@pytest.mark.parametrize(("path", "status"), [("nowhere", 404), ("api/nowhere", 404)])
async def test_nobody_reads_a_body_for_a_url_that_is_not(front, path, status):
    async with await front.connect() as client:
        await client.send(f"POST /{path} HTTP/1.1\nHost: localhost\nContent-Length: 100000")
        assert (await client.response())[0] == status
        await client.send_bytes(bytes(100_000))
        await client.send("GET /plain HTTP/1.1\nHost: localhost")
        assert (await client.response())[2] == b"plain"


async def test_nobody_reads_a_body_for_another_host(front):
    async with await front.connect() as client:
        await client.send("POST /echo HTTP/1.1\nHost: evil.example\nContent-Length: 100000")
        assert (await client.response())[0] == 400


@pytest.mark.parametrize("limits", [{"all_bytes": 1000}])
@pytest.mark.parametrize("chunked", [False, True])
async def test_all_bodies_together_have_a_limit(limits, front, views, chunked):
    first = asyncio.create_task(front.client.post("wait", data=bytes(900)))
    await views.expect("waiting")
    second = parts(100, 1) if chunked else bytes(101)
    async with front.client.post("echo", data=second) as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "service_busy"
        assert response.headers["Retry-After"] == "5"
        assert response.headers["x-should-retry"] == "true"
    async with front.client.post("echo", data=bytes(100)) as response:
        assert response.status == 200
    views.release.set()
    assert (await first).status == 200
    for _ in range(2):  # nothing is taken any more, and what was refused took nothing
        async with front.client.post("echo", data=parts(500, 500)) as response:
            assert response.status == 200


@pytest.mark.parametrize("limits", [{"all_bytes": 1000}])
async def test_a_declared_length_takes_nothing_from_others(limits, front):
    async with await front.connect() as client:
        await client.send("POST /echo HTTP/1.1\nHost: localhost\nContent-Length: 1000", b"x")
        async with front.client.post("echo", data=bytes(999)) as response:
            assert response.status == 200
