"""OpenAI's Files over HTTP: shapes, paging, downloads, whose they are, and how much fits."""

from __future__ import annotations

import hashlib
import time

import aiohttp
import pytest

from resource_server.domain.files import FileRules
from tests.support.batch_gateway import BatchService, served_batches

BASES = (
    "/v1",
    "/openai/v1",
    "/resource_server/v1",
    "/resource_server/site/vllm/v1",
    "/p/project-1/openai/v1",
)
CONTENT = bytes(range(256)) * 20


@pytest.mark.parametrize("base", BASES)
@pytest.mark.row("C-58")
async def test_a_file_is_stored_shown_listed_read_and_deleted(
    service: BatchService, base: str
) -> None:
    before = time.time()
    file_id = await service.uploaded(CONTENT, base=base)
    status, file = await service.ask("GET", f"{base}/files/{file_id}")
    assert status == 200
    assert before - 1 <= file["created_at"] <= time.time()
    assert file == {
        "id": file_id,
        "object": "file",
        "bytes": len(CONTENT),
        "created_at": file["created_at"],
        "expires_at": file["expires_at"],
        "filename": "input.jsonl",
        "purpose": "batch",
        "status": "processed",
        "status_details": None,
    }
    assert file["expires_at"] - file["created_at"] == 30 * 86_400
    _, listed = await service.ask("GET", f"{base}/files")
    assert listed == {
        "object": "list",
        "data": [file],
        "first_id": file_id,
        "last_id": file_id,
        "has_more": False,
    }
    url = f"{base}/files/{file_id}/content"
    async with service.client.get(url, headers=service.headers()) as response:
        assert await response.read() == CONTENT
        assert response.headers["Content-Length"] == str(len(CONTENT))
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert 'filename="input.jsonl"' in response.headers["Content-Disposition"]
        assert response.headers["ETag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert await service.ask("DELETE", f"{base}/files/{file_id}") == (
        200,
        {"id": file_id, "object": "file", "deleted": True},
    )
    status, gone = await service.ask("GET", f"{base}/files/{file_id}")
    assert (status, gone["error"]["code"]) == (404, "file_not_found")


async def test_pages_go_on_where_the_last_ended(service: BatchService) -> None:
    made = [await service.uploaded(b"%d" % number) for number in range(5)]
    found, after = [], ""
    for _ in range(3):
        _, page = await service.ask("GET", f"/v1/files?limit=2&order=asc{after}")
        found += [file["id"] for file in page["data"]]
        after = f"&after={page['last_id']}"
    assert found == made
    assert not page["has_more"]
    _, newest = await service.ask("GET", "/v1/files?limit=1&purpose=batch")
    assert (newest["data"][0]["id"], newest["has_more"]) == (made[-1], True)
    for purpose in ("batch_output", "fine-tune"):
        _, none = await service.ask("GET", f"/v1/files?purpose={purpose}")
        assert (none["data"], none["first_id"]) == ([], None)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=file-none", "after"),
    ],
)
async def test_a_page_that_is_none_is_a_bad_request(
    service: BatchService, query: str, param: str
) -> None:
    status, answer = await service.ask("GET", f"/v1/files?{query}")
    assert (status, answer["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("wanted", "begin", "end"),
    [("bytes=100-199", 100, 200), ("bytes=5000-", 5000, 5120), ("bytes=-7", 5113, 5120)],
)
async def test_a_part_of_a_file_can_be_had(
    service: BatchService, wanted: str, begin: int, end: int
) -> None:
    url = f"/v1/files/{await service.uploaded(CONTENT)}/content"
    tag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    for more, status in (({}, 206), ({"If-Range": tag}, 206), ({"If-Range": '"other"'}, 200)):
        headers = service.headers() | {"Range": wanted} | more
        async with service.client.get(url, headers=headers) as response:
            assert response.status == status
            whole = status == 200
            assert await response.read() == (CONTENT if whole else CONTENT[begin:end])
            said = response.headers.get("Content-Range")
            assert said == (None if whole else f"bytes {begin}-{end - 1}/{len(CONTENT)}")


async def test_what_there_is_not_of_a_file_or_what_somebody_has_is_not_sent(
    service: BatchService,
) -> None:
    url = f"/v1/files/{await service.uploaded(CONTENT)}/content"
    beyond = service.headers() | {"Range": "bytes=5120-"}
    async with service.client.get(url, headers=beyond) as response:
        assert response.status == 416
        assert response.headers["Content-Range"] == "bytes */5120"
        assert (await response.json())["error"]["code"] == "range_not_satisfiable"
        tag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    known = service.headers() | {"If-None-Match": f'"x", {tag}'}
    async with service.client.get(url, headers=known) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_nobody_sees_another_s_file(service: BatchService) -> None:
    file_id = await service.uploaded(CONTENT)
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        status, answer = await service.ask(method, f"/v1/files/{file_id}{path}", "bob")
        assert (status, answer["error"]["code"]) == (404, "file_not_found")
    assert (await service.ask("GET", "/v1/files", "bob"))[1]["data"] == []


@pytest.mark.parametrize("base", ["/resource_server/none/vllm/v1", "/p/none/openai/v1"])
async def test_a_base_that_is_none_has_no_files(service: BatchService, base: str) -> None:
    for path in ("/files", "/files/file-x", "/batches", "/batches/b"):
        assert (await service.ask("GET", f"{base}{path}"))[0] == 404
    assert (await service.ask("POST", f"{base}/files", data={"purpose": "batch"}))[0] == 404


@pytest.mark.row("C-41")
async def test_who_may_have_no_batches_uploads_nothing(service: BatchService) -> None:
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", CONTENT, filename="f")
    status, answer = await service.ask("POST", "/v1/files", "eve", data=form)
    assert (status, answer["error"]["code"]) == (403, "permission_denied")
    assert "eve@evil.example" in answer["error"]["message"]
    assert service.on_disk == []


@pytest.mark.row("C-57", "C-58")
async def test_a_file_may_be_larger_than_a_request_and_no_larger_than_its_own_limit(
    people, tmp_path, database
) -> None:
    rules = FileRules(most_bytes=40_000)
    async with served_batches(
        people, tmp_path / "files", rules=rules, max_body_bytes=2_000
    ) as service:
        file_id = await service.uploaded(b"x" * 40_000)
        for size in (40_001, 100_000):
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", b"x" * size, filename="f")
            status, answer = await service.ask("POST", "/v1/files", data=form)
            assert (status, answer["error"]["code"]) == (413, "payload_too_large")
            assert "at most 40000 bytes" in answer["error"]["message"]
        assert service.on_disk == [file_id]
        status, answer = await service.ask("POST", "/v1/chat/completions", data=b"x" * 2_001)
        assert status == 413
        assert "batch" in answer["error"]["message"]


async def test_past_the_quota_the_answer_says_so_and_is_not_repeated(
    people, tmp_path, database
) -> None:
    rules = FileRules(quota_bytes=10)
    async with served_batches(people, tmp_path / "files", rules=rules) as service:
        await service.uploaded(b"x" * 6)
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", b"x" * 5, filename="f")
        url, headers = "/v1/files", service.headers()
        async with service.client.post(url, data=form, headers=headers) as response:
            assert response.status == 429
            assert response.headers["x-should-retry"] == "false"
            error = (await response.json())["error"]
        assert (error["code"], error["type"]) == ("file_quota_exceeded", "insufficient_quota")
        assert len(service.on_disk) == 1
