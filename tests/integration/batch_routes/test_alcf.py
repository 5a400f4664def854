"""ALCF's batches: their shapes at their URLs, and who is spoken to in whose words (ADR 0015)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compute_functions.site import VARIABLE
from tests.support import open_folder
from tests.support.batch_gateway import BatchService, site_that_runs_batches
from tests.support.batch_orders import BatchSite, alices_site, content_of, identities, lines
from tests.support.batch_runs import batch_engine_in
from tests.support.eventually import eventually_so
from tests.support.open_folder import ALICE, PROJECT
from tests.support.slurm_site import FRAMEWORK, MODEL

CLUSTER = f"/resource_server/site/{FRAMEWORK}/v1/batches"
FEDERATED = "/resource_server/v1/batches"
PATH = "/project/in.jsonl"
SDK = {"x-stainless-lang": "python"}
BODY = {"model": MODEL, "input_file": PATH}
DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00")


async def created(service: BatchService, **body: Any) -> dict[str, Any]:
    status, batch = await service.ask("POST", CLUSTER, json=BODY | body)
    assert status == 200, batch
    found: dict[str, Any] = batch
    return found


@pytest.mark.row("C-45", "C-46")
async def test_a_path_makes_a_batch_in_alcf_s_shape(service: BatchService) -> None:
    batch = await created(service, output_folder_path="/project/out")
    expected = {
        "input_file": PATH,
        "output_folder_path": "/project/out",
        "task_ids": "",
        "status": "pending",
    }
    assert batch.items() >= expected.items()
    assert batch["batch_id"] == batch["id"]
    assert (await created(service))["output_folder_path"] is None


@pytest.mark.row("C-49", "C-50")
async def test_the_list_is_a_bare_array(service: BatchService) -> None:
    first, second = [(await created(service))["batch_id"] for _ in range(2)]
    status, listed = await service.ask("GET", FEDERATED)
    assert status == 200
    assert [batch["batch_id"] for batch in listed] == [second, first]
    created_at = listed[0].pop("created_at")
    assert DATE.fullmatch(created_at)
    assert listed[0] == {
        "batch_id": second,
        "id": second,
        "cluster": "site",
        "framework": FRAMEWORK,
        "input_file": PATH,
        "in_progress_at": None,
        "completed_at": None,
        "failed_at": None,
        "status": "pending",
    }
    for wanted, count in (("pending", 2), ("running", 0), ("completed", 0), ("failed", 0)):
        _, listed = await service.ask("GET", f"{FEDERATED}?status={wanted}")
        assert len(listed) == count
    status, answer = await service.ask("GET", f"{FEDERATED}?status=asleep")
    assert (status, answer["error"]["param"]) == (400, "status")
    assert (await service.ask("GET", FEDERATED, "bob")) == (200, [])


@pytest.mark.row("C-50", "C-51", "C-52", "C-54")
async def test_status_and_cancel_speak_alcf_s_words(service: BatchService) -> None:
    one = f"{FEDERATED}/{(await created(service))['batch_id']}"
    _, batch = await service.ask("GET", one)
    assert (batch["status"], batch["object"], batch["model"]) == ("pending", "batch", MODEL)
    assert DATE.fullmatch(batch["created_at"])
    status, batch = await service.ask("POST", f"{one}/cancel")
    assert (status, batch["status"]) == (200, "running")
    assert isinstance(batch["cancelling_at"], int)
    for wanted, count in (("pending", 0), ("running", 1)):
        assert len((await service.ask("GET", f"{FEDERATED}?status={wanted}"))[1]) == count


async def test_openai_s_clients_get_openai_s_words_at_every_base(service: BatchService) -> None:
    made = await created(service)
    _, batch = await service.ask("POST", CLUSTER, json=BODY, headers=SDK)
    assert (batch["object"], batch["status"]) == ("batch", "validating")
    for batch_id in (made["batch_id"], batch["id"]):
        for base in (FEDERATED, CLUSTER):
            one = f"{base}/{batch_id}"
            assert (await service.ask("GET", one))[1]["status"] == "pending"
            _, told = await service.ask("GET", one, headers=SDK)
            assert told["status"] == "validating"
            assert isinstance(told["created_at"], int)
        assert (await service.ask("GET", f"/v1/batches/{batch_id}"))[1]["status"] == "validating"


async def test_a_page_is_openai_s_and_so_is_every_list_but_alcf_s_own(
    service: BatchService,
) -> None:
    await created(service)
    for path, headers in (
        (FEDERATED, SDK),
        (f"{FEDERATED}?limit=5", {}),
        (CLUSTER, {}),
        ("/v1/batches", {}),
        ("/v1/batches?status=validating", {}),
    ):
        _, listed = await service.ask("GET", path, headers=headers)
        assert (listed["object"], len(listed["data"])) == ("list", 1), path
        assert listed["data"][0]["status"] == "validating"


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if not open_folder.is_root:
        pytest.skip("only root gives files to other users")
    with open_folder.open_folder() as folder:
        yield folder


@pytest.mark.row("C-42", "C-45", "C-46", "C-47", "C-48", "C-51", "C-52")
async def test_a_file_of_the_cluster_is_done_and_its_results_lie_there(
    service: BatchService, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site: BatchSite = alices_site(shared)
    identities(shared, {"alice@example.org": {"uid": ALICE, "gids": [PROJECT]}})
    monkeypatch.setenv(VARIABLE, str(site.site.root))
    project = shared / "project"
    async with (
        batch_engine_in(shared) as engine,
        site_that_runs_batches(site, engine),
        service.controlled(),
    ):
        made = await created(
            service,
            input_file=str(project / "input.jsonl"),
            output_folder_path=str(project / "out"),
        )
        one = f"{FEDERATED}/{made['batch_id']}"

        async def over() -> bool:
            return bool((await service.ask("GET", one))[1]["status"] == "completed")

        await eventually_so(over, seconds=60, every_s=0.05)
    status, result = await service.ask("GET", f"{one}/result")
    assert status == 200
    model = re.sub(r"[^A-Za-z0-9._-]", ".", MODEL)
    folder = rf"{project}/out/input_{model}_{made['batch_id']}"
    assert re.fullmatch(rf"{folder}/input_[^/]+\.results\.jsonl", result["results_file"])
    assert re.fullmatch(rf"{folder}/input_[^/]+\.progress\.json", result["progress_file"])
    assert set(result["metrics"]) == {
        "response_time",
        "throughput_tokens_per_second",
        "total_tokens",
        "num_responses",
        "lines_processed",
    }
    assert (result["metrics"]["num_responses"], result["metrics"]["lines_processed"]) == (3, 3)
    assert len(content_of(Path(result["results_file"]))) == len(lines().splitlines())
    assert os.stat(result["results_file"]).st_size  # noqa: PTH116 - that it is there
    # At ALCF results stay at the cluster.
    assert (result["output_file_id"], service.on_disk) == (None, [])
    _, listed = await service.ask("GET", f"{FEDERATED}?status=completed")
    assert [batch["batch_id"] for batch in listed] == [made["batch_id"]]


@pytest.mark.row("C-50", "C-52", "C-53", "C-69")
async def test_a_path_that_may_not_be_read_fails_and_the_result_says_why(
    service: BatchService, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site: BatchSite = alices_site(shared)
    identities(shared, {"bob@example.org": {"uid": ALICE, "gids": [PROJECT]}})
    monkeypatch.setenv(VARIABLE, str(site.site.root))
    async with service.controlled():
        made = await created(service, input_file=str(shared / "project" / "input.jsonl"))
        one = f"{FEDERATED}/{made['batch_id']}"

        async def failed() -> bool:
            return bool((await service.ask("GET", one))[1]["status"] == "failed")

        await eventually_so(failed, seconds=30, every_s=0.05)
    status, answer = await service.ask("GET", f"{one}/result")
    assert (status, answer["error"]["code"]) == (400, "batch_failed")
    assert str(shared / "project") in answer["error"]["message"]
    _, listed = await service.ask("GET", f"{FEDERATED}?status=failed")
    assert [batch["batch_id"] for batch in listed] == [made["batch_id"]]
    _, batch = await service.ask("GET", one, headers=SDK)
    assert batch["errors"]["data"][0]["message"] in answer["error"]["message"]


@pytest.mark.row("C-53")
async def test_a_line_for_what_the_model_does_not_serve_fails_the_batch_before_it_begins(
    service: BatchService, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site: BatchSite = alices_site(shared)
    identities(shared, {"alice@example.org": {"uid": ALICE, "gids": [PROJECT]}})
    monkeypatch.setenv(VARIABLE, str(site.site.root))
    file = shared / "project" / "input.jsonl"
    file.write_bytes(lines(2) + lines(1, url="/v1/rerank"))
    async with service.controlled():
        one = f"{FEDERATED}/{(await created(service, input_file=str(file)))['batch_id']}"

        async def failed() -> bool:
            return bool((await service.ask("GET", one))[1]["status"] == "failed")

        await eventually_so(failed, seconds=30, every_s=0.05)
    _, batch = await service.ask("GET", one, headers=SDK)
    (error,) = batch["errors"]["data"]
    assert (error["code"], error["line"], error["param"]) == ("invalid_url", 3, "url")
    assert error["message"].endswith("one of /v1/chat/completions, /v1/completions")
