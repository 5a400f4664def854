"""Queries that the controller asks all the time look at few rows, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction

from compute_functions.contract.batches import BatchState
from resource_server.domain import batch_progress
from resource_server.domain.batches import Batch, Stage
from resource_server.store import batches, files, old_batches
from resource_server.store.batch_values import values_of
from resource_server.store.database import in_database
from resource_server.store.live_batches import LiveBatches
from resource_server.store.models import BatchRow, FileRow
from tests.support.batch_rows import NOW, batch, report

pytestmark = pytest.mark.usefixtures("any_database")

#: As many batches are over, and as many files are kept.
MANY = 1_000


def row(made: Batch, **columns: Any) -> BatchRow:
    said = {"owner": made.owner, "request_digest": "d", "urgent": False} | columns
    return BatchRow(batch_id=made.id, **values_of(made) | said)


def over(number: int) -> Batch:
    made = batch(input_file_id=f"file-{number:032x}")
    done = batch_progress.taken(made, report(made, BatchState.COMPLETED), now=NOW)
    return replace(done, stage=Stage.DONE)


def file(number: int, **columns: Any) -> FileRow:
    values = {"purpose": "batch", "bytes": 1, "sha256": "0" * 64, "created_at": NOW}
    values |= {"expires_at": NOW + 1e6, "owner": f"owner-{number}", "filename": "f"}
    return FileRow(file_id=f"file-{number:032x}", **values | columns)


@transaction.atomic
def fill() -> None:
    live = [row(batch()) for _ in range(5)] + [row(batch(), urgent=True)]
    BatchRow.objects.bulk_create([*(row(over(number)) for number in range(MANY)), *live])
    kept = [file(number) for number in range(MANY)]
    gone = [file(MANY, deleted=True), file(MANY + 1, expires_at=NOW - 1e6)]
    FileRow.objects.bulk_create([*kept, *gone])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def plans(of: Callable[[], object]) -> list[str]:
    """Return how the database does each query that a function asks."""
    asked: list[tuple[str, Any]] = []

    def noted(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT"):
            asked.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(noted):
        of()
    return [plan(sql, params) for sql, params in asked]


def plan(sql: str, params: Any) -> str:
    how = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{how} {sql}", params)
        return "\n".join(str(line[-1]) for line in cursor.fetchall())


def live() -> object:
    return LiveBatches().read("site")


def clusters() -> object:
    return batches._clusters()  # noqa: SLF001 - what is asked is what is explained


def unwanted() -> object:
    return files._unwanted(NOW)  # noqa: SLF001 - likewise


def urgent() -> object:
    return BatchRow.objects.filter(urgent=True).exists()


def old() -> object:
    return old_batches.old(NOW - 1).first()


#: What is asked, and by which index each of its queries goes, on SQLite as on PostgreSQL.
GOES_BY: tuple[tuple[Callable[[], object], list[str]], ...] = (
    (live, ["batch_to_do"]),
    (clusters, ["batch_to_do"]),
    (urgent, ["batch_urgent"]),
    (old, ["batch_by_end"]),
    (unwanted, ["file_to_be_removed", "file_by_end"]),
    (unwanted, ["batch_by_needed_file", "batch_by_needed_file"]),
)


async def test_each_query_goes_by_its_index() -> None:
    await in_database(fill)
    for query, indexes in GOES_BY:
        found = await in_database(plans, query)
        assert len(found) >= len(indexes)
        for used, index in zip(found, indexes, strict=False):
            assert index in used, (query.__name__, used)
