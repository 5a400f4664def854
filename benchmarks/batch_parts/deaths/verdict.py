"""What became of the batch: its files against its input, its journal, and the engines' diary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openai.types import Batch

from batch.journal.record import Answer
from batch_parts.deaths import journals, people
from batch_parts.deaths.journals import Segment
from batch_parts.deaths.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong with a batch, in lines; `repeated` alone is allowed.

    `missing` have no record, `doubled` several; `failed` are in the error file; `strange` say what
    is no answer to them; `changed` are not, byte for byte, what the journal holds; `again` were
    asked though the journal held their record. `repeated` were asked twice or more: they were
    under way when something died, or not yet on the disk. `miscounted` says what the gateway tells
    otherwise than its files.
    """

    lines: int
    runners: int
    missing: int
    doubled: int
    failed: int
    strange: int
    changed: int
    again: int
    repeated: int
    miscounted: tuple[str, ...]


def judged(trial: Trial, batch: Batch, *, output: bytes, errors: bytes) -> Verdict:
    """Hold everything against each other. Blocks."""
    segments = trial.journals.segments()
    good, bad = _objects(output), _objects(errors)
    names = Counter(one["custom_id"] for one in [*good, *bad])
    wanted = {f"line-{number}" for number in range(trial.lines)}
    trial.diary.read()
    asked = Counter(one.line for one in trial.diary.asked)
    return Verdict(
        lines=trial.lines,
        runners=len(segments),
        missing=len(wanted - set(names)),
        doubled=sum(count > 1 or name not in wanted for name, count in names.items()),
        failed=len(bad),
        strange=sum(_said(one) != people.text_of(one["custom_id"]) for one in good),
        changed=_changed(output, journals.held(segments)),
        again=_again(trial, segments),
        repeated=sum(count > 1 for count in asked.values()),
        miscounted=tuple(_miscounted(batch, good, bad)),
    )


def _objects(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def _said(line: Mapping[str, Any]) -> object:
    return line["response"]["body"]["choices"][0]["message"]["content"]


def _changed(output: bytes, held: Mapping[int, Answer]) -> int:
    """Return how many lines do not hold the body that stands in the journal."""
    bodies = {answer.custom_id: answer.body for answer in held.values()}
    return sum(
        bodies.get(json.loads(line)["custom_id"], b"no record") not in line
        for line in output.splitlines()
    )


def _again(trial: Trial, segments: Mapping[int, Segment]) -> int:
    """Return how many lines were asked though they were recorded, by epoch or by time."""
    asked = trial.diary.asked
    epochs = {one.epoch for one in asked}
    before = {epoch: set(journals.held_before(segments, epoch)) for epoch in epochs}
    known = {
        (one.line, one.epoch)
        for one in asked
        if one.line in before[one.epoch] or one.epoch not in segments
    }
    later = {
        (one.line, one.epoch)
        for snapshot in trial.snapshots
        for one in asked
        if one.at > snapshot.at and one.line in snapshot.lines
    }
    return len(known | later)


def _miscounted(
    batch: Batch, good: Sequence[Mapping[str, Any]], bad: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return what the gateway says of the batch that its files do not."""
    used = [one["response"]["body"]["usage"] for one in good]
    spent = sum(one["prompt_tokens"] for one in used), sum(one["completion_tokens"] for one in used)
    counts, usage = batch.request_counts, batch.usage
    told = {
        "status": (batch.status, "completed"),
        "counts": (
            counts and (counts.total, counts.completed, counts.failed),
            (len(good) + len(bad), len(good), len(bad)),
        ),
        "usage": (
            usage and (usage.input_tokens, usage.output_tokens, usage.total_tokens),
            (*spent, sum(spent)),
        ),
    }
    return [f"{what}: {said}, not {true}" for what, (said, true) in told.items() if said != true]
