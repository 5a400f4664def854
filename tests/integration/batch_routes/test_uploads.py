"""Uploads as clients send them, and as they must not: whatever goes wrong leaves nothing."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.batch_gateway import BatchService, served_batches
from tests.support.eventually import eventually, eventually_so

BOUNDARY = "edge"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
PURPOSE = ("purpose", "batch")
ANCHOR = ("expires_after[anchor]", "created_at")
SECONDS = ("expires_after[seconds]", "7200")
CONTENT = b"{}\r\n--edg\r\n" * 1000
FILE = ("file", CONTENT)


def part(name: str, value: str | bytes) -> bytes:
    """Return a field; bytes make it a file."""
    filename = "" if isinstance(value, str) else '; filename="in.jsonl"'
    content = value.encode() if isinstance(value, str) else value
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(parts: Iterable[tuple[str, str | bytes]]) -> bytes:
    return b"".join(part(*one) for one in parts) + f"--{BOUNDARY}--\r\n".encode()


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for begin in range(0, len(body), size):
        yield body[begin : begin + size]


async def sent(service: BatchService, body: object, kind: str = FORM) -> tuple[int, dict]:
    headers = {"Content-Type": kind}
    return await service.ask("POST", "/v1/files", data=body, headers=headers)


#: The fields of a form in several orders; the second is that of OpenAI's client for Node.
ORDERS = (
    (PURPOSE, ANCHOR, SECONDS, FILE),
    (FILE, PURPOSE, ANCHOR, SECONDS),
    (ANCHOR, ("other", "x"), FILE, PURPOSE, SECONDS),
)


@pytest.mark.parametrize("size", [None, 7, 5000])
async def test_fields_may_stand_before_or_after_the_file(service, size):
    for order in ORDERS:
        body = form(order)
        status, file = await sent(service, body if size is None else in_pieces(body, size))
        assert status == 200, file
        assert (file["bytes"], file["filename"]) == (len(CONTENT), "in.jsonl")
        assert file["expires_at"] - file["created_at"] == 7200
        url = f"/v1/files/{file['id']}/content"
        async with service.client.get(url, headers=service.headers()) as response:
            assert await response.read() == CONTENT


#: Forms that are refused, and the field that the answer names.
REFUSED = [
    (form([PURPOSE]), "file"),
    (form([PURPOSE, ("file", "text")]), "file"),
    (form([PURPOSE, FILE, FILE]), "file"),
    (form([FILE]), "purpose"),
    (form([("purpose", "fine-tune"), FILE]), "purpose"),
    (form([FILE, ("purpose", "fine-tune")]), "purpose"),
    (form([PURPOSE, PURPOSE, FILE]), "purpose"),
    (form([PURPOSE, FILE, SECONDS]), "expires_after"),
    (form([PURPOSE, ANCHOR, ("expires_after[seconds]", "soon"), FILE]), "expires_after"),
    (form([PURPOSE, FILE, ANCHOR, ("expires_after[seconds]", "60")]), "expires_after"),
    (form([PURPOSE, ("other", "x" * 70_000), FILE]), "other"),
    (form([*[(f"f{n}", "") for n in range(30)], PURPOSE, FILE]), None),
    (b"preamble\r\n" + form([PURPOSE, FILE]), None),
    (form([PURPOSE, FILE])[:-20], None),
    (form([PURPOSE, FILE]) + b"x" * 5000, None),
    (form([PURPOSE, FILE]).replace(b"\r\n--edg\r\n", b"\r\n--edgeX\r\n", 1), None),
    (form([PURPOSE, ("x" * 5000, "")]), None),
    (b"--edge\r\n" + b"x" * 100_000, None),
    (b"", None),
]


async def test_a_form_that_is_not_as_it_should_be_is_refused_and_leaves_nothing(service):
    for body, param in REFUSED:
        for sending in (body, in_pieces(body, 3000)):
            status, answer = await sent(service, sending)
            assert (status, answer["error"]["param"]) == (400, param), (body[:300], answer)
            assert answer["error"]["type"] == "invalid_request_error"
    assert service.on_disk == []
    assert (await service.ask("GET", "/v1/files"))[1]["data"] == []


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "text/plain"])
async def test_what_is_no_form_is_refused(service, kind):
    status, answer = await sent(service, form([PURPOSE, FILE]), kind)
    assert status == 400
    assert "'purpose' and 'file'" in answer["error"]["message"]


@asynccontextmanager
async def begun_upload(service: BatchService) -> AsyncIterator[asyncio.StreamReader]:
    """Send a part of an upload on a connection of its own, which is cut at the end of the block."""
    before = len(service.on_disk)
    reader, writer = await asyncio.open_connection(*service.address)
    try:
        head = (
            "POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {service.tokens['alice']}\r\n"
            f"Content-Type: {FORM}\r\nContent-Length: 5000000\r\n\r\n"
        )
        writer.write(head.encode() + form([PURPOSE, ("file", b"x" * 3_000_000)])[:-100])
        await writer.drain()
        await eventually(lambda: len(service.on_disk) > before)
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_who_leaves_midway_leaves_nothing(service, caplog):
    with capture_logs() as logs, caplog.at_level("ERROR"):
        async with begun_upload(service):
            pass
        await eventually(lambda: not service.on_disk)
        await eventually(lambda: [one for one in logs if one["event"] == "http_request"])
    (line,) = [one for one in logs if one["event"] == "http_request"]
    assert (line["status"], line["client"], line["route"]) == (499, "left", "/v1/files")
    assert caplog.records == []


@pytest.mark.parametrize("bound", ["stall_timeout_s", "streamed_timeout_s"])
async def test_who_stops_sending_is_told_and_leaves_nothing(people, tmp_path, database, bound):
    bounds: dict[str, Any] = {bound: 0.5}
    async with (
        served_batches(people, tmp_path / "files", **bounds) as service,
        begun_upload(service) as reader,
    ):
        async with asyncio.timeout(30):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"request_timeout" in answer
        assert b"connection: close" in answer.lower()
        await eventually(lambda: not service.on_disk)


async def test_one_person_has_so_many_uploads_at_once(service):
    async with AsyncExitStack() as stack:
        for _ in range(7):
            await stack.enter_async_context(begun_upload(service))
        async with begun_upload(service):
            status, answer = await sent(service, form([PURPOSE, FILE]))
            assert (status, answer["error"]["code"]) == (503, "service_busy")

        async def taken() -> bool:
            return (await sent(service, form([PURPOSE, FILE])))[0] == 200

        await eventually_so(taken)
    await eventually(lambda: len(service.on_disk) == 1)


async def test_a_large_upload_is_not_held_in_memory(service):
    """Its peak, as Python's own allocations tell, is far below its size."""
    block = b"x" * 1_000_000
    head = form([PURPOSE, ("file", b"")]).partition(b"\r\n--edge--")[0]

    async def body() -> AsyncIterator[bytes]:
        yield head
        for _ in range(60):
            yield block
        yield b"\r\n--edge--\r\n"

    tracemalloc.start()
    try:
        status, file = await sent(service, body())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (status, file["bytes"]) == (200, 60_000_000)
    assert peak < 20_000_000
