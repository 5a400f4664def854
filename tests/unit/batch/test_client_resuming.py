"""What remains of a batch whose answers its gateway does not have: never all lines by mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batch.client import results
from batch.client.errors import Mistaken, NothingLeft, WrongSetting
from batch.client.gateway import Ask, Gateway
from batch.client.hosted import Hosted
from batch.client.results import Places
from batch.client.resuming import Here, rest_of
from tests.support.batch_inputs import good_lines


class NoGateway(Gateway):
    """Is asked nothing."""

    def __init__(self) -> None:
        """Connect to nothing."""

    async def json(self, ask: Ask) -> dict[str, Any]:
        raise AssertionError(ask)


def old(**changes: object) -> Hosted:
    wire = {
        "id": "batch_1",
        "status": "completed",
        "request_counts": {"total": 3, "completed": 2, "failed": 1},
        "reason": "The file of the answers has 9 bytes. It is at the cluster: /results/a.jsonl",
        "results_file": "/results/a.jsonl",
        "input_file_id": "file-1",
        "output_file_id": None,
    }
    return Hosted.from_wire(wire | changes)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(3))
    return path


async def rest(batch: Hosted, folder: Path, here: Here) -> list[str]:
    found = await rest_of(NoGateway(), batch, folder, here=here, tell=lambda *_: None)
    lines = [json.loads(line)["custom_id"] for line in found.path.read_text().splitlines()]
    assert len(lines) == found.lines
    return lines


def ids(source: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in source.read_text().splitlines()]


def with_blank_lines(source: Path) -> Path:
    """Return a file that has blank lines at its end."""
    path = source.with_name("blank.jsonl")
    path.write_bytes(source.read_bytes() + b"\n\r\n")
    return path


def answers(source: Path, *lines: int) -> Path:
    """Write the results file of a cluster: good answers, and a line that failed."""
    records = [
        {
            "custom_id": ids(source)[line - 1],
            "response": {"status_code": 200, "body": {}},
            "error": None,
        }
        for line in lines
    ]
    records.append({"custom_id": ids(source)[2], "response": None, "error": {"code": "timed_out"}})
    path = source.with_name("answers.jsonl")
    path.write_text("".join(f"{json.dumps(one)}\n" for one in records))
    return path


@pytest.mark.parametrize("status", ["completed", "expired", "cancelled", "failed"])
async def test_no_line_is_done_again_because_the_gateway_has_no_answers(
    source: Path, tmp_path: Path, status: str
) -> None:
    with pytest.raises(WrongSetting) as raised:
        await rest(old(status=status), tmp_path, Here(input=source))
    said = str(raised.value)
    assert "does not have the 2 answers of batch_1" in said
    assert said.count("/results/a.jsonl") == 1
    assert "--output" in said
    with pytest.raises(WrongSetting, match=r"are at the cluster: /results/a\.jsonl"):
        await rest(old(status=status, reason=None), tmp_path, Here(input=source))


async def test_answers_that_are_here_are_not_asked_for_again(source: Path, tmp_path: Path) -> None:
    here = Here(input=source, output=answers(source, 1, 2))
    assert await rest(old(), tmp_path, here) == ids(source)[2:]


async def test_files_that_are_not_here_are_named_before_any_is_fetched(
    source: Path, tmp_path: Path
) -> None:
    for here in (Here(input=tmp_path / "no"), Here(input=source, output=tmp_path / "no")):
        with pytest.raises(WrongSetting, match="no: there is no such file"):
            await rest(old(), tmp_path, here)


async def test_blank_lines_at_the_end_are_none(source: Path, tmp_path: Path) -> None:
    here = Here(input=with_blank_lines(source), output=answers(source, 1, 2, 3))
    with pytest.raises(NothingLeft):
        await rest(old(), tmp_path, here)


async def test_an_input_that_is_none_is_named(source: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(source)
    with pytest.raises(Mistaken, match="link has mistakes") as raised:
        await rest(old(), tmp_path, Here(input=link, output=answers(source, 1)))
    assert raised.value.found.errors[0].message == "the input is a link, not a regular file"


async def test_answers_that_are_here_may_be_all(source: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingLeft):
        await rest(old(), tmp_path, Here(input=source, output=answers(source, 1, 2, 3)))


async def test_a_batch_that_has_no_answers_is_done_again_as_a_whole(
    source: Path, tmp_path: Path
) -> None:
    none = old(request_counts={"total": 3, "completed": 0, "failed": 3})
    assert len(await rest(none, tmp_path, Here(input=source))) == 3


async def test_a_file_of_all_answers_does_not_come_without_some(tmp_path: Path) -> None:
    places = Places(output=tmp_path / "all", errors=tmp_path / "errors")
    with pytest.raises(WrongSetting, match="2 answers of batch_1"):
        await results.merge(NoGateway(), old(), places, lambda *_: None)
    assert not places.output.exists()


async def test_a_batch_whose_input_has_mistakes_is_mended_by_who_has_the_file(
    source: Path, tmp_path: Path
) -> None:
    mistake = {"code": "duplicate_custom_id", "line": 7, "message": "again", "param": None}
    failed = old(
        status="failed",
        request_counts={"total": 7, "completed": 0, "failed": 0},
        errors={"object": "list", "data": [mistake]},
    )
    with pytest.raises(WrongSetting, match="mend the file"):
        await rest(failed, tmp_path, Here(input=None, output=None))
    mended = Here(input=source, output=None)
    assert await rest(failed, tmp_path, mended) == ids(source)
