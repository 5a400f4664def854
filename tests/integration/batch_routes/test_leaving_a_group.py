"""Who leaves the groups that may have batches makes no new one, and keeps what there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from resource_server.domain import errors
from resource_server.domain.batch_requests import BatchRequest
from resource_server.domain.catalog import Catalog
from resource_server.domain.identity import Person
from resource_server.domain.routing import Base
from tests.support.batch_gateway import BatchService, served_batches, site_that_runs_batches
from tests.support.batch_orders import BatchSite, lines
from tests.support.batch_plant import ALICE, CLUSTER, GROUP, BatchPlant, cluster, model
from tests.support.batch_runs import batch_engine_in
from tests.support.catalogs import members
from tests.support.eventually import eventually_so
from tests.support.slurm_site import FRAMEWORK, MODEL

pytestmark = [pytest.mark.row("C-41"), pytest.mark.usefixtures("database")]

BY_PATH = {"model": MODEL, "input_file": "/project/in.jsonl"}
BASES = (
    "/v1",
    "/openai/v1",
    "/p/project-1/openai/v1",
    "/resource_server/v1",
    f"/resource_server/{CLUSTER}/{FRAMEWORK}/v1",
)
NOBODY_S = {"groups": frozenset({"94090000-0000-4000-8000-0000000000ff"})}


async def completed(service: BatchService, site: BatchSite, folder: Path) -> dict[str, Any]:
    """Have a batch done."""
    body = {"input_file_id": await service.uploaded(lines())}
    _, batch = await service.ask("POST", "/v1/batches", json=body)

    async def over() -> bool:
        nonlocal batch
        batch = (await service.ask("GET", f"/v1/batches/{batch['id']}"))[1]
        return batch["status"] == "completed"

    async with (
        batch_engine_in(folder) as engine,
        site_that_runs_batches(site, engine),
        service.controlled(),
    ):
        await eventually_so(over, seconds=60, every_s=0.05)
    return batch


async def test_existing_ones_stay_and_new_ones_are_refused(
    people, tmp_path: Path, site: BatchSite
) -> None:
    key = {"Idempotency-Key": "once"}
    async with served_batches(people, tmp_path / "files", offer={"most_active": 50}) as before:
        done = await completed(before, site, tmp_path)
        active, spare = [], await before.uploaded(lines())
        for body in [{"input_file_id": spare}, BY_PATH] * len(BASES):
            status, batch = await before.ask("POST", f"{BASES[-1]}/batches", json=body)
            assert status == 200, batch
            active.append(batch["id"])
        again = {"input_file_id": spare, "metadata": {"a": "b"}}
        await before.ask("POST", "/v1/batches", json=again, headers=key)
    async with served_batches(people, tmp_path / "files", offer=NOBODY_S) as after:
        for number, base in enumerate(BASES):
            await refused(after, base, spare)
            status, answer = await after.ask("POST", f"{base}/batches", json=again, headers=key)
            assert status == 403, answer
            await seen(after, base, done)
            for batch_id in active[2 * number : 2 * number + 2]:
                one = f"{base}/batches/{batch_id}"
                assert (await after.ask("GET", one))[0] == 200
                status, cancelled = await after.ask("POST", f"{one}/cancel")
                assert (status, cancelled["status"]) in {(200, "cancelling"), (200, "running")}
        assert (await after.ask("DELETE", f"/v1/files/{spare}"))[0] == 200


async def refused(service: BatchService, base: str, file_id: str) -> None:
    """Nothing new is made, of an upload or of a path, in OpenAI's words or ALCF's."""
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", lines(), filename="f")
    asked: list[tuple[str, dict[str, Any]]] = [
        ("files", {"data": form}),
        ("batches", {"json": {"input_file_id": file_id}}),
        ("batches", {"json": BY_PATH}),
        ("batches", {"json": BY_PATH, "headers": {"x-stainless-lang": "python"}}),
    ]
    for path, said in asked:
        status, answer = await service.ask("POST", f"{base}/{path}", **said)
        assert (status, answer["error"]["code"]) == (403, "permission_denied"), (base, path)
        assert next(iter(NOBODY_S["groups"])) in answer["error"]["message"]


async def seen(service: BatchService, base: str, done: dict[str, Any]) -> None:
    """Look at what there was, and fetch what came of it."""
    assert (await service.ask("GET", f"{base}/batches/{done['id']}"))[1]["id"] == done["id"]
    status, listed = await service.ask("GET", f"{base}/batches?limit=100")
    assert done["id"] in [one["id"] for one in listed["data"]]
    status, result = await service.ask("GET", f"{base}/batches/{done['id']}/result")
    assert (status, result["output_file_id"]) == (200, done["output_file_id"])
    url = f"{base}/files/{done['output_file_id']}/content"
    async with service.client.get(url, headers=service.headers()) as response:
        assert len((await response.read()).splitlines()) == 3


async def test_who_may_not_use_the_cluster_any_more_goes_by_another_url(tmp_path: Path) -> None:
    plant = BatchPlant(tmp_path / "files")
    there = Base(cluster=CLUSTER, framework=FRAMEWORK)
    made = await plant.batches.create(ALICE, there, by_path())
    gone: Person = replace(ALICE, groups=frozenset())
    plant.catalog = Catalog([replace(cluster(), access=members(GROUP))], [model()])
    with pytest.raises(errors.Forbidden):
        plant.batches.require_base(gone, there)
    for base in (Base(), there):
        with pytest.raises((errors.BatchNotOffered, errors.Forbidden)):
            await plant.batches.create(gone, base, by_path())
    plant.batches.require_base(gone, Base())
    assert await plant.batches.get(gone, made.id) == made
    assert (await plant.batches.cancel(gone, made.id)).cancelling_at


def by_path() -> BatchRequest:
    return BatchRequest(input_path="/project/in.jsonl", model=MODEL)
