"""What `benchmarks/batches.py --only kills` counts with: a batch that is not whole is found out."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from batch_parts.deaths import people, table
from batch_parts.deaths.diary import Diary
from batch_parts.deaths.journals import Journals, held, held_before
from batch_parts.deaths.ordeal import Death
from batch_parts.deaths.resumes import Resume
from batch_parts.deaths.sleeper import Slept
from batch_parts.deaths.trial import Snapshot
from batch_parts.deaths.verdict import Verdict, judged
from batch_parts.deaths.victims import VICTIMS, drawn
from batch_parts.deaths.whole import Survived
from openai.types import Batch

from batch.journal.record import Answer, Record, Seal, pack

BATCH: dict[str, Any] = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
    "input_file_id": "file-1",
    "created_at": 1,
    "status": "completed",
    "request_counts": {"total": 3, "completed": 3, "failed": 0},
    "usage": {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    },
}
GOOD = {"missing": 0, "doubled": 0, "failed": 0, "strange": 0, "changed": 0, "again": 0}


def body(number: int) -> bytes:
    said = {"content": people.text_of(f"line-{number}")}
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    return json.dumps({"choices": [{"message": said}], "usage": usage}).encode()


def answer(line: int) -> Answer:
    """Return the record of a line, which the input calls by the number before."""
    return Answer(
        line=line,
        custom_id=f"line-{line - 1}",
        status=200,
        request_id="r",
        problem=None,
        body=body(line - 1),
    )


def result(number: int, content: bytes | None = None) -> bytes:
    said = body(number) if content is None else content
    return b'{"custom_id":"line-%d","response":{"body":%b}}\n' % (number, said)


class Site:
    """A batch of three lines: the first runner recorded one, the second one the others."""

    def __init__(self, folder: Path) -> None:
        self.journals = Journals(folder=folder / "journal", kept=folder / "kept")
        for made in (self.journals.folder, self.journals.kept):
            made.mkdir()
        self.diary = Diary(folder / "diary")
        self.lines = 3
        self.snapshots: list[Snapshot] = []
        first = self.write(1, Seal(lengths={}), answer(1))
        self.write(2, Seal(lengths={1: first}), answer(2), answer(3))
        for line, epoch in ((1, 1), (2, 1), (2, 2), (3, 2)):
            self.ask(line, epoch)

    def write(self, epoch: int, *records: Record) -> int:
        """Append to a segment, and return how long it is."""
        with (self.journals.folder / f"{epoch}.journal").open("ab") as file:
            file.write(b"".join(map(pack, records)))
            return file.tell()

    def ask(self, line: int, epoch: int, *, at: float = 10.0) -> None:
        entry = {"at": at, "what": "asked", "request_id": f"batch-{'0' * 12}-{line}-{epoch}.0"}
        with self.diary.file.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def judged(
        self,
        numbers: Sequence[int] = (0, 1, 2),
        *,
        batch: Mapping[str, Any] = BATCH,
        more: bytes = b"",
    ) -> Verdict:
        output = b"".join(map(result, numbers)) + more
        return judged(self, Batch.model_validate(batch), output=output, errors=b"")  # type: ignore[arg-type]  # a trial's part


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def wrong(verdict: Verdict) -> dict[str, int]:
    return {name: found for name in GOOD if (found := getattr(verdict, name))}


def test_a_batch_that_is_whole(site: Site) -> None:
    found = site.judged()
    assert (wrong(found), found.miscounted) == ({}, ())
    # The second line was under way when the first runner died.
    assert (found.runners, found.repeated) == (2, 1)


def test_lines_that_are_not_there_or_twice(site: Site) -> None:
    assert wrong(site.judged([0, 1])) == {"missing": 1}
    assert wrong(site.judged([0, 1, 1, 2])) == {"doubled": 1}
    assert wrong(site.judged(more=result(7, body(7)))) == {"doubled": 1, "changed": 1}


def test_answers_that_are_another_s_or_not_the_journal_s(site: Site) -> None:
    found = wrong(site.judged([0, 1], more=result(2, body(1))))
    assert found == {"strange": 1, "changed": 1}
    spaced = body(2).replace(b": ", b":  ")
    assert wrong(site.judged([0, 1], more=result(2, spaced))) == {"changed": 1}


def test_a_line_that_an_earlier_runner_had_recorded(site: Site) -> None:
    site.ask(1, 2)
    assert wrong(site.judged()) == {"again": 1}


def test_a_line_of_a_runner_of_whom_nothing_is_known(site: Site) -> None:
    site.ask(3, 4)
    assert wrong(site.judged()) == {"again": 1}


def test_a_line_that_was_recorded_when_somebody_died(site: Site) -> None:
    site.snapshots.append(Snapshot(at=20.0, lines=frozenset({3})))
    assert wrong(site.judged()) == {}
    site.ask(2, 2, at=21.0)
    assert wrong(site.judged()) == {}
    site.ask(3, 2, at=21.0)
    assert wrong(site.judged()) == {"again": 1}


def test_what_a_sealed_runner_writes_holds_for_nobody(site: Site) -> None:
    site.write(1, answer(3))
    segments = site.journals.segments()
    assert sorted(held_before(segments, 2)) == [1]
    assert sorted(held_before(segments, 3)) == []
    assert sorted(held(segments)) == [1, 2, 3]


def test_the_journal_of_a_batch_that_is_forgotten_is_kept(site: Site) -> None:
    site.journals.keep()
    site.write(2, answer(1))
    for path in site.journals.folder.iterdir():
        path.unlink()
    site.journals.folder.rmdir()
    assert len(site.journals.segments()[2].answers) == 3


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"status": "failed"}, "status: failed"),
        ({"request_counts": {"total": 3, "completed": 2, "failed": 1}}, "counts: (3, 2, 1)"),
        ({"usage": {**BATCH["usage"], "output_tokens": 8}}, "usage: (3, 8, 9)"),
        ({"usage": None}, "usage: None"),
    ],
)
def test_a_gateway_that_counts_otherwise(site: Site, said: dict[str, Any], told: str) -> None:
    (found,) = site.judged(batch={**BATCH, **said}).miscounted
    assert found.startswith(told)


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - moments, not secrets


def test_each_kind_is_hit_and_a_seed_says_when() -> None:
    assert sorted(drawn(0, chance(1))) == sorted(VICTIMS)
    many = drawn(20, chance(1))
    assert (len(many), set(many)) == (20, set(VICTIMS))
    assert many == drawn(20, chance(1)) != drawn(20, chance(2))


def survived(**changes: Any) -> Survived:
    said = Verdict(lines=3, runners=2, repeated=1, miscounted=(), **GOOD | changes)
    deaths = [
        Death(victim="hub", again_s=0.1),
        Death(victim="node", again_s=4.0),
        Death(victim="node", again_s=30.0, without_agent=True),
    ]
    slept = Slept(again_s=5.0, status=5, wrote=0, asked=0)
    return Survived(deaths=deaths, slept=slept, verdict=said, runners=0, jobs=2)


def test_the_table_says_what_was_missed() -> None:
    lines = {line.label: line for line in table.about_survival(survived())}
    assert not any(line.missed for line in lines.values())
    hub, node = (lines[f"{name}: the batch went on after, at most (s)"] for name in ("hub", "node"))
    assert (hub.value, hub.note) == (0.1, "  killed once")
    alone = "of these 1 while the site had no agent (at most 30.0 s)"
    assert (node.value, node.note) == (30.0, f"  killed 2 times, {alone}")
    for name in GOOD:
        assert sum(line.missed for line in table.about_survival(survived(**{name: 1}))) == 1


def test_a_slow_resume_is_missed() -> None:
    quick, slow = Resume(seconds=1.0, of_site_s=0.5), Resume(seconds=2.5, of_site_s=0.5)
    assert [line.missed for line in table.about_resumes([quick, quick])] == [False] * 4
    assert sum(line.missed for line in table.about_resumes([quick, slow])) == 1
