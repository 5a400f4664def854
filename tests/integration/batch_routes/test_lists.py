"""Which batches a list holds: by `status`, in the words of the answer, and by the base URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from resource_server.domain.batch_offer import BatchOffer
from resource_server.domain.catalog import Catalog
from tests.support.batch_fixtures import People
from tests.support.batch_gateway import GROUPS, BatchService, served_batches
from tests.support.batch_plant import cluster, model
from tests.support.slurm_site import FRAMEWORK, MODEL

CLUSTER = f"/resource_server/site/{FRAMEWORK}/v1/batches"
FEDERATED = "/resource_server/v1/batches"
#: Where the list is in OpenAI's words, and with what headers and parameters.
OPENAI_S: tuple[tuple[str, dict[str, str]], ...] = (
    ("/v1/batches?", {}),
    ("/openai/v1/batches?", {}),
    ("/p/project-1/openai/v1/batches?", {}),
    (f"{CLUSTER}?", {}),
    (f"{FEDERATED}?limit=100&", {}),
    (f"{FEDERATED}?", {"x-stainless-lang": "python"}),
)
BODY = {"model": MODEL, "input_file": "/project/in.jsonl"}


async def created(service: BatchService, base: str = "/v1/batches") -> str:
    status, batch = await service.ask("POST", base, json=BODY)
    assert status == 200, batch
    found: str = batch["id"]
    return found


async def cancelled(service: BatchService) -> str:
    batch = await created(service)
    await service.ask("POST", f"/v1/batches/{batch}/cancel")
    return batch


async def failed(service: BatchService, base: str = "/v1/batches") -> str:
    """Make a batch whose input names no model, so that it has failed at once."""
    body = {"input_file_id": await service.uploaded(b"{}\n")}
    status, batch = await service.ask("POST", base, json=body)
    assert (status, batch["status"]) == (200, "failed")
    found: str = batch["id"]
    return found


async def listed(service: BatchService, path: str, headers: dict[str, str] | None = None) -> Any:
    """Return the ids that a list in OpenAI's words holds."""
    status, answer = await service.ask("GET", path, headers=headers or {})
    assert (status, answer["object"]) == (200, "list"), answer
    return [batch["id"] for batch in answer["data"]]


@pytest.mark.parametrize(("base", "headers"), OPENAI_S)
async def test_openai_s_lists_are_of_one_of_openai_s_statuses(
    service: BatchService, base: str, headers: dict[str, str]
) -> None:
    found = {
        "validating": await created(service),
        "cancelling": await cancelled(service),
        "failed": await failed(service),
        "completed": None,
    }
    # One that has failed at `/v1`, before a cluster was chosen, is in no cluster's list.
    for word, batch in found.items():
        wanted = [] if batch is None or (word == "failed" and base == f"{CLUSTER}?") else [batch]
        assert await listed(service, f"{base}status={word}", headers) == wanted
    # ALCF's word, and one that is nobody's.
    for unknown in ("pending", "asleep"):
        status, answer = await service.ask("GET", f"{base}status={unknown}", headers=headers)
        assert (status, answer["error"]["param"]) == (400, "status")
        assert "validating, failed, in_progress" in answer["error"]["message"]


async def test_pages_of_one_status_go_on_where_the_last_ended(service: BatchService) -> None:
    wanted = [await cancelled(service)]
    for _ in range(2):
        between = await created(service)
        wanted.append(await cancelled(service))
    found, after, more = [], "", True
    while more:
        _, page = await service.ask("GET", f"/v1/batches?status=cancelling&limit=2{after}")
        found.append([batch["id"] for batch in page["data"]])
        after, more = f"&after={page['last_id']}", page["has_more"]
    assert found == [wanted[:0:-1], wanted[:1]]
    # The last one of a page may have another status by the time of the next.
    _, page = await service.ask("GET", f"/v1/batches?status=cancelling&after={between}")
    assert [batch["id"] for batch in page["data"]] == wanted[1::-1]


@pytest.fixture
async def two_clusters(
    people: People, tmp_path: Path, database: None
) -> AsyncIterator[BatchService]:
    """Serve a gateway with the model at two clusters, both of which take batches."""
    offer, names = BatchOffer(groups=GROUPS), ("site", "other")
    catalog = Catalog([cluster(name, offer) for name in names], [model(*names)])
    async with served_batches(people, tmp_path / "files", catalog=catalog) as served:
        yield served


async def test_the_list_below_a_cluster_is_of_that_cluster(two_clusters: BatchService) -> None:
    other = CLUSTER.replace("/site/", "/other/")
    there = [await created(two_clusters, base) for base in (other, CLUSTER, other)]
    mistaken = await failed(two_clusters, CLUSTER)
    assert await listed(two_clusters, CLUSTER) == [mistaken, there[1]]
    assert await listed(two_clusters, other) == [there[2], there[0]]
    assert await listed(two_clusters, f"{other}?status=validating&limit=1") == [there[2]]
    assert await listed(two_clusters, f"{other}?after={mistaken}") == [there[2], there[0]]
    everything = [mistaken, *reversed(there)]
    assert await listed(two_clusters, "/v1/batches") == everything
    _, array = await two_clusters.ask("GET", FEDERATED)
    assert [batch["id"] for batch in array] == everything
