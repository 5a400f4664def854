"""OpenAI's Batches over HTTP: shapes, refusals, and one real batch from upload to output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.batch_gateway import (
    UNBATCHED,
    BatchService,
    served_batches,
    site_that_runs_batches,
)
from tests.support.batch_orders import BatchSite, lines
from tests.support.batch_runs import batch_engine_in
from tests.support.eventually import eventually_so
from tests.support.slurm_site import MODEL

PATH = "/project/in.jsonl"
#: What a new batch has not come to.
NEVER = dict.fromkeys(
    (
        *("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at"),
        *("cancelling_at", "cancelled_at", "output_file_id", "error_file_id", "errors"),
    )
)


async def created(service: BatchService, person: str = "alice", **body: Any) -> dict[str, Any]:
    """Make a batch of three lines, or of what `body` says."""
    if not body.keys() & {"input_file_id", "input_file"}:
        body["input_file_id"] = await service.uploaded(lines(), person)
    said = {"endpoint": "/v1/chat/completions", "completion_window": "24h"} | body
    status, batch = await service.ask("POST", "/v1/batches", person, json=said)
    assert status == 200, batch
    found: dict[str, Any] = batch
    return found


@pytest.mark.row("C-26")
async def test_a_batch_has_openai_s_shape(service: BatchService) -> None:
    file_id = await service.uploaded(lines())
    batch = await created(
        service,
        input_file_id=file_id,
        metadata={"run": "7"},
        output_expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert batch["id"].startswith("batch_")
    expected = NEVER | {
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": MODEL,
        "input_file_id": file_id,
        "completion_window": "24h",
        "status": "validating",
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": {"run": "7"},
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
    }
    assert batch.items() >= expected.items()
    assert batch["expires_at"] - batch["created_at"] == 86_400
    assert await service.ask("GET", f"/v1/batches/{batch['id']}") == (200, batch)
    assert (await service.ask("GET", "/v1/batches"))[1] == {
        "object": "list",
        "data": [batch],
        "first_id": batch["id"],
        "last_id": batch["id"],
        "has_more": False,
    }


@pytest.mark.parametrize(
    "base",
    [
        "/v1",
        "/openai/v1",
        "/p/project-1/openai/v1",
        "/resource_server/v1",
        "/resource_server/site/vllm/v1",
    ],
)
async def test_an_upload_is_openai_s_at_every_base(service: BatchService, base: str) -> None:
    file_id = await service.uploaded(lines(), base=base)
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions"}
    _, batch = await service.ask("POST", f"{base}/batches", json=body)
    assert batch["object"] == "batch"
    one = f"{base}/batches/{batch['id']}"
    assert (await service.ask("GET", one))[1]["status"] == "validating"
    assert (await service.ask("GET", f"{base}/batches?limit=5"))[1]["data"][0]["id"] == batch["id"]
    status, cancelling = await service.ask("POST", f"{one}/cancel")
    assert (status, cancelling["status"]) == (200, "cancelling")
    assert isinstance(cancelling["cancelling_at"], int)


async def test_pages_go_on_where_the_last_ended(service: BatchService) -> None:
    made = [(await created(service))["id"] for _ in range(5)]
    found, after = [], ""
    for _ in range(3):
        _, page = await service.ask("GET", f"/v1/batches?limit=2{after}")
        found += [batch["id"] for batch in page["data"]]
        after = f"&after={page['last_id']}"
    assert found == made[::-1]
    assert not page["has_more"]


async def test_who_repeats_a_request_gets_the_same_batch(service: BatchService) -> None:
    body = {"input_file_id": await service.uploaded(lines())}
    key = {"Idempotency-Key": "once"}
    _, first = await service.ask("POST", "/v1/batches", json=body, headers=key)
    assert (await service.ask("POST", "/v1/batches", json=body, headers=key)) == (200, first)
    other = body | {"metadata": {"a": "b"}}
    status, answer = await service.ask("POST", "/v1/batches", json=other, headers=key)
    assert (status, answer["error"]["code"]) == (400, "idempotency_key_reused")


#: What is refused: body, status, code, and the field that the answer names.
REFUSED: list[tuple[Any, int, str, str | None]] = [
    ({}, 400, "invalid_request", "input_file_id"),
    ({"input_file_id": "f", "input_file": PATH}, 400, "invalid_request", "input_file_id"),
    ({"input_file_id": 7}, 400, "invalid_request", "input_file_id"),
    ({"input_file_id": "file-none"}, 400, "invalid_request", "input_file_id"),
    ({"input_file": PATH}, 400, "invalid_request", "model"),
    ({"input_file": "in.jsonl", "model": MODEL}, 400, "invalid_request", "input_file"),
    (
        {"input_file": PATH, "model": MODEL, "endpoint": "/v1/moderations"},
        400,
        "invalid_request",
        "endpoint",
    ),
    (
        {"input_file": PATH, "model": MODEL, "endpoint": "/v1/rerank"},
        400,
        "route_not_served",
        "endpoint",
    ),
    (
        {"input_file": PATH, "model": MODEL, "completion_window": "soon"},
        400,
        "invalid_request",
        "completion_window",
    ),
    ({"input_file": PATH, "model": MODEL, "metadata": []}, 400, "invalid_request", "metadata"),
    (
        {"input_file": PATH, "model": MODEL, "output_expires_after": {"seconds": 1}},
        400,
        "invalid_request",
        "output_expires_after",
    ),
    ({"input_file": PATH, "model": "org/none"}, 404, "model_not_found", "model"),
    ([], 400, "invalid_request", None),
]


async def test_what_cannot_be_asked_for_is_refused_and_makes_no_batch(
    service: BatchService,
) -> None:
    for body, status, code, param in REFUSED:
        answer = await service.ask("POST", "/v1/batches", json=body)
        error = answer[1]["error"]
        assert (answer[0], error["code"], error["param"]) == (status, code, param), (body, error)
    for content in (b"", b"{", b'"x"', b"\xff", b" " * 300_000):
        assert (await service.ask("POST", "/v1/batches", data=content))[0] == 400
    assert (await service.ask("GET", "/v1/batches"))[1]["data"] == []


@pytest.mark.row("C-44")
async def test_a_model_without_the_flag_is_forbidden(service: BatchService) -> None:
    body = {"input_file": PATH, "model": UNBATCHED}
    status, answer = await service.ask("POST", "/v1/batches", json=body)
    assert (status, answer["error"]["code"]) == (403, "batch_not_offered")
    assert "flag B" in answer["error"]["message"]


@pytest.mark.row("C-41")
async def test_who_has_no_right_to_batches_is_told(service: BatchService) -> None:
    body = {"input_file": PATH, "model": MODEL}
    status, answer = await service.ask("POST", "/v1/batches", "eve", json=body)
    assert (status, answer["error"]["code"]) == (403, "permission_denied")


async def test_nobody_sees_another_s_batch(service: BatchService) -> None:
    batch = f"/v1/batches/{(await created(service))['id']}"
    for method, path in (("GET", ""), ("GET", "/result"), ("POST", "/cancel")):
        status, answer = await service.ask(method, f"{batch}{path}", "bob")
        assert (status, answer["error"]["code"]) == (404, "batch_not_found")
    assert (await service.ask("GET", "/v1/batches", "bob"))[1]["data"] == []


async def test_one_too_many_is_told_and_not_repeated(people, tmp_path, database) -> None:
    async with served_batches(people, tmp_path / "files", offer={"most_active": 1}) as service:
        await created(service)
        body = {"input_file_id": await service.uploaded(lines())}
        asked = service.client.post("/v1/batches", json=body, headers=service.headers())
        async with asked as response:
            assert response.status == 429
            assert response.headers["x-should-retry"] == "false"
            assert (await response.json())["error"]["code"] == "too_many_batches"


@pytest.mark.row("C-53")
async def test_a_failed_batch_says_which_line_and_why(service: BatchService) -> None:
    batch = await created(service, input_file_id=await service.uploaded(b"{}\n"))
    assert batch["status"] == "failed"
    (error,) = batch["errors"]["data"]
    assert batch["errors"]["object"] == "list"
    assert (error["line"], error["code"], error["param"]) == (1, "missing_body", "body")
    one = f"/v1/batches/{batch['id']}"
    status, answer = await service.ask("GET", f"{one}/result")
    assert (status, answer["error"]["code"]) == (400, "batch_failed")
    assert "Line 1" in answer["error"]["message"]
    status, answer = await service.ask("POST", f"{one}/cancel")
    assert (status, answer["error"]["code"]) == (400, "batch_over")


@pytest.mark.row("C-40")
@pytest.mark.parametrize(("count", "status"), [(100, "in_progress"), (101, "failed")])
async def test_a_file_has_as_many_lines_as_the_cluster_takes_and_no_more(
    people, tmp_path, database, site: BatchSite, count: int, status: str
) -> None:
    async with (
        served_batches(people, tmp_path / "files", offer={"most_lines": 100}) as service,
        service.controlled(),
    ):
        batch = await created(service, input_file_id=await service.uploaded(lines(count)))

        async def looked_at() -> bool:
            nonlocal batch
            batch = (await service.ask("GET", f"/v1/batches/{batch['id']}"))[1]
            return batch["status"] != "validating"

        await eventually_so(looked_at, seconds=30, every_s=0.05)
    assert batch["status"] == status
    if status == "failed":
        (error,) = batch["errors"]["data"]
        assert (error["code"], error["line"]) == ("too_many_lines", 101)


@pytest.mark.row("C-26", "C-43", "C-47", "C-51", "C-52")
async def test_an_upload_becomes_an_output_file(
    service: BatchService, site: BatchSite, tmp_path
) -> None:
    async with (
        batch_engine_in(tmp_path) as engine,
        site_that_runs_batches(site, engine),
        service.controlled(),
    ):
        batch = await created(service, input_file_id=await service.uploaded(lines(300)))
        one = f"/v1/batches/{batch['id']}"
        status, answer = await service.ask("GET", f"{one}/result")
        assert (status, answer["error"]["code"]) == (400, "batch_not_over")

        async def over() -> bool:
            nonlocal batch
            batch = (await service.ask("GET", one))[1]
            return batch["status"] == "completed"

        await eventually_so(over, seconds=60, every_s=0.05)
    assert batch["request_counts"] == {"total": 300, "completed": 300, "failed": 0}
    assert batch["usage"]["total_tokens"] == 300 * 8
    assert batch["error_file_id"] is None
    times = [batch[f"{name}_at"] for name in ("created", "in_progress", "finalizing", "completed")]
    assert times == sorted(times)
    output = f"/v1/files/{batch['output_file_id']}"
    _, file = await service.ask("GET", output)
    assert file["purpose"] == "batch_output"
    async with service.client.get(f"{output}/content", headers=service.headers()) as response:
        records = [json.loads(line) async for line in response.content]
    assert [one["custom_id"] for one in records] == [f"line-{n}" for n in range(300)]
    assert {one["response"]["status_code"] for one in records} == {200}
    _, result = await service.ask("GET", f"/v1/batches/{batch['id']}/result")
    assert result["output_file_id"] == batch["output_file_id"]
    metrics = result["metrics"]
    assert (metrics["num_responses"], metrics["lines_processed"]) == (300, 300)
    assert metrics["total_tokens"] == 300 * 8
    assert metrics["response_time"] > 0
