"""The unmodified openai SDK's Files and Batches, and the package `openai-batch`, on real batches.

The clients run in their own environments (docs/developers/conformance.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.support.batch_gateway import (
    UNBATCHED,
    BatchService,
    served_batches,
    site_that_runs_batches,
)
from tests.support.batch_orders import BatchSite
from tests.support.batch_runs import batch_engine_in
from tests.support.client_runs import Runs
from tests.support.slurm_site import MODEL

pytestmark = pytest.mark.timeout(600)

BASES = {
    "v1": "/v1",
    "resource_server": "/resource_server/v1",
    "cluster": "/resource_server/site/vllm/v1",
}


@pytest.fixture
async def runs(people, tmp_path, database, site: BatchSite) -> AsyncIterator[Runs]:
    """Run clients against a gateway whose site runs batches."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        service: BatchService = await enter(
            served_batches(people, tmp_path / "stored", offer={"most_active": 50})
        )
        engine = await enter(batch_engine_in(tmp_path))
        await enter(site_that_runs_batches(site, engine))
        await enter(service.controlled())
        offer = {
            "bases": {name: service.url + path for name, path in BASES.items()},
            "key": service.tokens["alice"],
            "other_key": service.tokens["bob"],
            "model": MODEL,
            "unbatched": UNBATCHED,
        }
        yield Runs(offer, tmp_path)


@pytest.mark.row("C-26", "C-58")
@pytest.mark.parametrize(
    ("client", "base"),
    [
        ("openai-1-batches", "v1"),
        ("openai-2-batches", "cluster"),
        # The one at which ALCF's list has the same URL.
        ("openai-3-batches", "resource_server"),
    ],
)
async def test_the_openai_sdk_works(runs: Runs, client: str, base: str) -> None:
    await files_work(runs, client, base)
    await batches_work(runs, client, base)
    await refusals_are_the_sdk_s_own(runs, client, base)
    # The first version has no such parameter.
    if client != "openai-1-batches":
        assert await runs.said(client, base, "a_file_with_an_end") == 7200


async def files_work(runs: Runs, client: str, base: str) -> None:
    said = await runs.said(client, base, "a_file")
    assert said.pop("request_id").startswith("req_")
    assert said == {
        "names": ["named.jsonl", "named.jsonl"],
        "status": "processed",
        "purpose": "batch",
        "same": [True] * 4,
        "deleted": True,
    }
    assert await runs.said(client, base, "files_in_pages") == {"in_order": True, "all": True}


async def batches_work(runs: Runs, client: str, base: str) -> None:
    assert await runs.said(client, base, "a_batch") == {
        "first": "validating",
        "last": "completed",
        "counts": {"total": 5, "completed": 5, "failed": 0},
        "ids": [f"q-{number}" for number in range(5)],
        "errors": None,
        "metadata": {"run": "7"},
        "raw": "req_",
    }
    assert await runs.said(client, base, "batches_in_pages") == {
        "newest_first": True,
        "usual": True,
        "class": "SyncCursorPage[Batch]",
    }
    assert await runs.said(client, base, "a_batch_that_is_cancelled") == {
        "told": "cancelling",
        "last": "cancelled",
        "at": True,
    }
    failed = await runs.said(client, base, "a_batch_with_a_mistake")
    (mistake,) = failed["errors"]
    assert (failed["last"], mistake["code"], mistake["line"]) == (
        "failed",
        "duplicate_custom_id",
        2,
    )
    assert await runs.said(client, base, "the_same_without_blocking") == {
        "file": True,
        "listed": True,
        "last": "completed",
        "lines": 5,
        "same": True,
        "deleted": True,
    }


async def refusals_are_the_sdk_s_own(runs: Runs, client: str, base: str) -> None:
    for feature, kind, code in (
        ("another_s_file", "NotFoundError", "file_not_found"),
        ("a_purpose_that_is_none", "BadRequestError", "invalid_request"),
        ("no_such_batch", "NotFoundError", "batch_not_found"),
        ("a_model_without_batches", "PermissionDeniedError", "batch_not_offered"),
    ):
        error = await runs.error(client, base, feature)
        assert (error["class"], error["code"]) == (kind, code)


@pytest.mark.row("C-26")
async def test_openai_batch_works(runs: Runs) -> None:
    for base in BASES:
        said = await runs.said("openai-batch", base, "submit_wait_download")
        seen = said.pop("seen")
        assert seen[-1] == "completed"
        assert said == {
            "last": "completed",
            "ids": [f"line-{number}" for number in range(1, 51)],
            "statuses": [200],
            "errors": None,
        }
        assert await runs.said("openai-batch", base, "a_line_that_fails") == {
            "last": "completed",
            "answers": 2,
            "errors": 1,
        }
