"""Which lines are given, in what order, and what is put into their bodies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from batch.disk_thread import DiskThread
from batch.input_file import InputFile
from batch.journal.record import Counted
from batch.journal.recorded import Place, Recorded
from batch.pending import Changes, PendingLines
from batch.rules import ENDPOINTS, SALTED, Rules
from batch.use import Use
from batch.validation import validate
from resource_server.services.preparation import SALTED_ROUTES
from tests.support.batch_inputs import encoded, good_lines, request

TOTAL = 3_000
#: They have their record already.
DONE = frozenset(range(1, TOTAL, 7))


@pytest.fixture
async def lines(tmp_path: Path) -> AsyncIterator[PendingLines]:
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(TOTAL))
    recorded = Recorded(TOTAL)
    for number in DONE:
        recorded.add(Counted(number, True, Use().tokens), Place(1, 0, 0))
    with InputFile.open(path) as file:
        index = validate(file, Rules()).index
        async with DiskThread("input") as disk:
            found = PendingLines(file=file, index=index, recorded=recorded, disk=disk)
            yield found
            await found.close()


def number_of(found: tuple[int, bytes]) -> int:
    number, content = found
    assert json.loads(content)["custom_id"] == f"request-{number - 1}"
    return number


@pytest.mark.parametrize(
    "is_any",
    [lambda _: False, lambda _: True, lambda count: count % 3 == 0, lambda count: count < 100],
)
async def test_each_pending_line_is_given_once_however_it_is_asked_for(
    lines: PendingLines, is_any: Callable[[int], bool]
) -> None:
    given: list[int] = []
    while (found := await (lines.any() if is_any(len(given)) else lines.next())) is not None:
        given.append(number_of(found))
    assert lines.exhausted
    assert len(given) == len(set(given))
    assert set(given) == set(range(1, TOTAL + 1)) - DONE


async def test_any_line_is_one_from_anywhere(lines: PendingLines) -> None:
    first = number_of(await lines.next() or (0, b""))
    given = [number_of(await lines.any() or (0, b"")) for _ in range(40)]
    assert first == 2
    assert sum(number > TOTAL // 2 for number in given) > 5


def test_a_salt_is_put_where_callers_requests_get_one() -> None:
    changes = Changes(model="own", priority=3, cache_salt="s")
    line = encoded(request())
    body = json.loads(changes.at("/v1/chat/completions").prepare(1, line).body)
    assert (body["model"], body["priority"], body["cache_salt"]) == ("own", 3, "s")
    assert "cache_salt" not in json.loads(changes.at("/v1/embeddings").prepare(1, line).body)
    assert {route for route in ENDPOINTS if route.removeprefix("/v1/") in SALTED_ROUTES} == SALTED
