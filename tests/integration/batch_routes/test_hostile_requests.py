"""Requests about files that no sound client sends: each is refused in words, and leaves nothing."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import unquote

import pytest

from resource_server.domain.files import FileRules, new_file_id
from resource_server.services.batch_duties import FilesDuty
from resource_server.store.files import FileRows
from tests.support.batch_gateway import BatchService, served_batches
from tests.support.batch_orders import lines
from tests.support.batch_plant import tenure

EDGE = b"edge"
FORM = "multipart/form-data; boundary=edge"


def form(content: bytes = b"{}\n", disposition: bytes = b'filename="in.jsonl"') -> bytes:
    """Return a form with a file; `disposition` is what it says of its name."""
    head = b'--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    head += b'--edge\r\nContent-Disposition: form-data; name="file"; ' + disposition
    return head + b"\r\n\r\n" + content + b"\r\n--edge--\r\n"


async def raw(service: BatchService, headers: bytes, body: bytes) -> bytes:
    """Send a request as it stands; return all that comes back."""
    reader, writer = await asyncio.open_connection(*service.address)
    try:
        head = (
            f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n"
            f"Authorization: Bearer {service.tokens['alice']}\r\nConnection: close\r\n"
        )
        writer.write(head.encode() + headers + b"\r\n" + body)
        with suppress(ConnectionError):
            await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def length(of: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(of)


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"


GOOD = form()
CHUNKS = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (length(GOOD) + b"Content-Length: 5\r\n", GOOD),
        (b"Content-Length: 5\r\n" + length(GOOD), GOOD),
        (length(GOOD) + CHUNKS, chunked(GOOD)),
        (b"Content-Length: -1\r\n", GOOD),
        (b"Content-Length: +%d\r\n" % len(GOOD), GOOD),
        (b"Content-Length: 1_0\r\n", GOOD),
        (CHUNKS, b"zz\r\n" + GOOD),
        (CHUNKS, b"-5\r\n" + GOOD),
        (length(GOOD), GOOD[:-4] + b"xxxx"),
    ],
    ids=[
        *("two-lengths", "two-lengths-turned", "length-and-chunks", "negative", "plus"),
        *("underscore", "no-chunk", "negative-chunk", "cut-off"),
    ],
)
async def test_a_body_of_doubtful_length_is_refused(
    service: BatchService, headers: bytes, body: bytes
) -> None:
    answer = await raw(service, headers, body)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer[:300]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert service.on_disk == []


async def test_chunks_are_taken_up_to_the_limit_and_no_further(people, tmp_path, database) -> None:
    rules = FileRules(most_bytes=40_000)
    async with served_batches(people, tmp_path / "files", rules=rules) as service:
        pieces = [form(b"x" * 40_000)[at : at + 999] for at in range(0, 41_000, 999)]
        answer = await raw(service, CHUNKS, chunked(*(one for one in pieces if one)))
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:300]
        stored = service.on_disk

        async def endless() -> AsyncIterator[bytes]:
            yield form(b"x" * 1000).removesuffix(b"\r\n--edge--\r\n")
            while True:
                yield b"x" * 10_000

        headers = service.headers() | {"Content-Type": FORM}
        asked = service.client.post("/v1/files", data=endless(), headers=headers)
        async with asyncio.timeout(30), asked as response:
            assert response.status == 413
            assert (await response.json())["error"]["code"] == "payload_too_large"
        assert service.on_disk == stored


async def named(service: BatchService, disposition: bytes) -> tuple[int, dict]:
    headers = {"Content-Type": FORM}
    body = form(disposition=disposition)
    return await service.ask("POST", "/v1/files", data=body, headers=headers)


@pytest.mark.parametrize(
    "name",
    [
        "in\u202elnosj.jsonl",
        "in\u2066.jsonl",
        "in\u200b.jsonl",
        "in\u0085.jsonl",
        "in\u2028.jsonl",
        "x" * 256,
        "..",
        "a/..",
        "a/",
        "",
    ],
)
async def test_a_name_that_shows_as_something_else_is_refused(
    service: BatchService, name: str
) -> None:
    status, answer = await named(service, f'filename="{name}"'.encode())
    assert (status, answer["error"]["param"]) == (400, "file")
    assert service.on_disk == []


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'filename="../../etc/passwd"', "passwd"),
        (b'filename="C:\\\\data\\\\in.jsonl"', "in.jsonl"),
        ('filename="Übung 3 — 数.jsonl"'.encode(), "Übung 3 — 数.jsonl"),
        (b"filename*=UTF-8''a%0d%0aX-Evil:%20yes", "a__X-Evil: yes"),
        (b'filename="a%22b.jsonl"', "a%22b.jsonl"),
    ],
)
async def test_a_name_leads_nowhere_and_says_nothing_to_a_browser(
    service: BatchService, disposition: bytes, name: str
) -> None:
    status, file = await named(service, disposition)
    assert (status, file.get("filename")) == (200, name), file
    url = f"/v1/files/{file['id']}/content"
    async with service.client.get(url, headers=service.headers()) as response:
        assert "X-Evil" not in response.headers
        said = response.headers["Content-Disposition"]
        assert said.startswith("attachment; filename")
        assert name in said or name in unquote(said)
    assert service.on_disk == [file["id"]]


async def test_what_follows_the_file_cannot_make_it_another_s_or_of_another_kind(
    service: BatchService,
) -> None:
    for name, value in (("purpose", "batch_output"), ("owner", "bob"), ("filename", "x")):
        body = form().removesuffix(b"--edge--\r\n")
        body += f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        body += value.encode() + b"\r\n--edge--\r\n"
        headers = {"Content-Type": FORM}
        status, file = await service.ask("POST", "/v1/files", data=body, headers=headers)
        if name == "purpose":
            assert (status, file["error"]["param"]) == (400, "purpose")
        else:
            assert (file["purpose"], file["filename"]) == ("batch", "in.jsonl")
    assert (await service.ask("GET", "/v1/files", "bob"))[1]["data"] == []


async def test_another_s_cursor_reads_as_one_that_is_none(service: BatchService) -> None:
    file_id = await service.uploaded(lines())
    _, batch = await service.ask("POST", "/v1/batches", json={"input_file_id": file_id})
    for path, found in (("files", file_id), ("batches", batch["id"])):
        other = new_file_id() if path == "files" else f"batch_{'0' * 32}"
        answers = [
            await service.ask("GET", f"/v1/{path}?after={cursor}", "bob")
            for cursor in (found, other)
        ]
        assert answers[0] == answers[1]
        assert (answers[0][0], answers[0][1]["error"]["param"]) == (400, "after")
    for strange in ("%00", "%ff", "%F0%9F%92%A9", "x" * 5000, "'", "file-%25"):
        status, answer = await service.ask("GET", f"/v1/files?after={strange}")
        assert (status, answer["error"]["param"]) == (400, "after"), strange


async def test_who_downloads_gets_all_of_a_file_that_is_deleted_meanwhile(
    service: BatchService,
) -> None:
    content = bytes(range(256)) * 100_000
    headers = {"Content-Type": FORM}
    body = io.BytesIO(form(content))
    file_id = (await service.ask("POST", "/v1/files", data=body, headers=headers))[1]["id"]
    url = f"/v1/files/{file_id}/content"
    async with service.client.get(url, headers=service.headers()) as response:
        found = await response.content.readexactly(1000)
        assert (await service.ask("DELETE", f"/v1/files/{file_id}"))[0] == 200
        await FilesDuty(FileRows(), service.plant.disk).perform(await tenure())
        assert service.on_disk == []
        assert (await service.ask("GET", f"/v1/files/{file_id}"))[0] == 404
        found += await response.content.read()
    assert found == content


@pytest.mark.parametrize("path", ["files", "files/{}", "files/{}/content", "batches"])
async def test_head_has_no_body_and_shuts_no_door(service: BatchService, path: str) -> None:
    url = f"/v1/{path.format(await service.uploaded(lines()))}"
    answer = await asyncio.wait_for(head(service, url), 30)
    assert answer.startswith(b"HTTP/1.1 405 ")
    [allowed] = re.findall(rb"(?i)\r\nallow: ([^\r]*)", answer)
    assert b"GET" in allowed.split(b", ")
    assert answer.endswith(b"\r\n\r\n")


async def head(service: BatchService, url: str) -> bytes:
    reader, writer = await asyncio.open_connection(*service.address)
    try:
        lines_ = (
            f"HEAD {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: Bearer {service.tokens['alice']}\r\n\r\n"
        )
        writer.write(lines_.encode())
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=0-1,2-3",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=",
        "bytes=-",
        "lines=0-1",
        "bytes=0-1" + ",0-1" * 1000,
        "bytes=" + "9" * 400 + "-",
    ],
)
async def test_a_range_that_is_none_is_all_of_the_file(service: BatchService, wanted: str) -> None:
    content = lines()
    url = f"/v1/files/{await service.uploaded(content)}/content"
    headers = service.headers() | {"Range": wanted}
    async with service.client.get(url, headers=headers) as response:
        assert (response.status, await response.read()) == (200, content)
