"""Batches of projects: who may have one below a project's URL, and whose share it is charged to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from compute_functions.contract.batches import BatchCall, BatchOrder
from resource_server.domain.batch_offer import BatchOffer
from resource_server.domain.catalog import AccessRule, Catalog, Project
from tests.support.batch_fixtures import People
from tests.support.batch_gateway import GROUPS, BatchService, served_batches
from tests.support.batch_orders import BatchSite, lines
from tests.support.batch_plant import SiteInThisProcess, cluster, model
from tests.support.eventually import eventually

#: Eve is in no group, and in both projects; Alice and Bob are in the first one, where it is for
#: all members.
ACTIVE, OTHER = "OPEN-30-1", "OPEN-30-2"
MEMBERS = AccessRule(domains=frozenset({"evil.example", "example.org"}))
EVE_S = AccessRule(domains=frozenset({"evil.example"}))
BASE = f"/p/{ACTIVE}/openai/v1"


@pytest.fixture
async def service(people: People, tmp_path: Path, database: None) -> AsyncIterator[BatchService]:
    """Serve a gateway whose cluster takes batches of groups, and of one of two projects."""
    offer = BatchOffer(
        groups=GROUPS,
        projects=frozenset({ACTIVE}),
        weights=dict.fromkeys(GROUPS, 3.0),
        project_weights={ACTIVE: 0.5},
    )
    projects = [Project(name=ACTIVE, access=MEMBERS), Project(name=OTHER, access=EVE_S)]
    catalog = Catalog([cluster(batches=offer)], [model()], projects)
    async with served_batches(people, tmp_path / "files", catalog=catalog) as served:
        yield served


async def created(service: BatchService, person: str, base: str) -> str:
    body = {"input_file_id": await service.uploaded(lines(), person, base)}
    status, batch = await service.ask("POST", f"{base}/batches", person, json=body)
    assert status == 200, batch
    found: str = batch["id"]
    return found


def orders(calls: SiteInThisProcess) -> dict[str, BatchOrder]:
    """Return what the site was told of batches, by their ids."""
    told = [wire for _, wire in calls.called if wire.get("verb") == "submit"]
    found = [BatchCall.from_wire(wire).order for wire in told]
    return {order.batch: order for order in found if order is not None}


async def test_below_a_project_its_members_share_its_part(
    service: BatchService, site: BatchSite
) -> None:
    of_project = [await created(service, person, BASE) for person in ("alice", "eve")]
    alice_s = await created(service, "alice", "/v1")
    async with service.controlled() as calls:
        await eventually(lambda: len(orders(calls)) == 3)
    shares = {batch: (one.share_of, one.weight) for batch, one in orders(calls).items()}
    # The project's weight, whatever that of its members' groups is.
    assert [shares[batch] for batch in of_project] == [(f"project:{ACTIVE}", 0.5)] * 2
    person = "person:a11ce000-0000-4000-8000-000000000001"
    assert shares[alice_s] == (person, 3.0)


async def refusal(service: BatchService, person: str, base: str) -> tuple[int, str]:
    """Return the status and the message with which somebody is refused everywhere at a base."""
    answers: list[tuple[int, Any]] = [
        await service.ask("POST", f"{base}/files", person, data={"purpose": "batch"}),
        await service.ask(
            "POST",
            f"{base}/batches",
            person,
            json={"input_file": "/project/in.jsonl", "model": model().id},
        ),
    ]
    (status, first), (again, second) = answers
    assert (status, first["error"]["message"]) == (again, second["error"]["message"])
    return status, first["error"]["message"]


@pytest.mark.row("C-41")
async def test_a_project_s_members_need_no_group_below_its_url_and_nowhere_else(
    service: BatchService,
) -> None:
    assert await created(service, "eve", BASE)
    for base in ("/v1", f"/p/{OTHER}/openai/v1"):
        status, message = await refusal(service, "eve", base)
        assert status == 403
        assert f"below /p/{ACTIVE}/openai/v1" in message
        assert OTHER not in message


@pytest.mark.row("C-41")
async def test_a_project_reads_as_absent_to_others(people, tmp_path, database) -> None:
    offer = BatchOffer(projects=frozenset({ACTIVE}))
    catalog = Catalog([cluster(batches=offer)], [model()], [Project(name=ACTIVE, access=EVE_S)])
    async with served_batches(people, tmp_path / "files", catalog=catalog) as service:
        status, message = await refusal(service, "bob", "/v1")
        assert status == 403
        assert ACTIVE not in message
        assert (await refusal(service, "bob", BASE))[0] == 404
        assert await created(service, "eve", BASE)
