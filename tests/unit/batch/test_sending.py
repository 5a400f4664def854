"""What is sent of a line that took long to be noted before, and when the engine is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from batch.asking import Bounds, Naming
from batch.concurrency import START, Concurrency
from batch.disk_thread import DiskThread
from batch.doubts import Doubts
from batch.health import Health
from batch.input_file import InputFile
from batch.journal.journal import Journal
from batch.journal.recorded import Recorded
from batch.journal.segment import SegmentWriter
from batch.judging import Judging
from batch.pending import Changes, PendingLines
from batch.rules import Rules
from batch.runner import FIRST_LOOK_S, next_look_s
from batch.sending import Sending
from batch.transports.transport import EngineLoad, Reply, Request
from batch.validation import validate
from tests.support.batch_inputs import good_lines
from tests.support.eventually import eventually

NOW, LONG_AGO = float("inf"), float("-inf")


class JournalOnASlowDisk(Journal):
    """While it notes the first line, something happens."""

    happens: Callable[[], None] | None = None

    async def asked(self, line: int) -> None:
        await super().asked(line)
        if self.happens is not None:
            self.happens()
            self.happens = None


class Engine:
    """Answers; of a body that is sent in parts nobody asks at the last moment."""

    name = "here"

    def __init__(self) -> None:
        self.was_fresh: list[bool] = []

    async def ask(self, request: Request) -> Reply:
        self.was_fresh.append(request.may_go())
        return Reply(status=200, body=b"{}", request_id=request.request_id)

    async def ready(self) -> bool:
        return True

    async def load(self) -> EngineLoad | None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A batch of one line, whose last runner died."""

    sending: Sending
    journal: JournalOnASlowDisk
    engine: Engine
    bounds: Bounds
    recorded: Recorded


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(1))
    recorded, health, engine = Recorded(1), Health(patience_s=60.0), Engine()
    recorded.died = True
    bounds = Bounds(looked_at=NOW)
    writer = SegmentWriter.create(tmp_path, 1)
    with InputFile.open(path) as file:
        index = validate(file, Rules()).index
        async with DiskThread("test") as disk:
            journal = JournalOnASlowDisk(
                epoch=1, writer=writer, recorded=recorded, disk=disk, may_write=lambda: None
            )
            sending = Sending(
                lines=PendingLines(file=file, index=index, recorded=recorded, disk=disk),
                transport=engine,
                journal=journal,
                naming=Naming(path="/v1/chat/completions", seed="s", epoch=1),
                changes=Changes(),
                concurrency=Concurrency(),
                health=health,
                recorded=recorded,
                judging=Judging(health, Doubts(pending=1, completed=0)),
                bounds=bounds,
            )
            yield Parts(
                sending=sending, journal=journal, engine=engine, bounds=bounds, recorded=recorded
            )
    writer.close()


async def test_it_is_asked_on_a_fresh_look_only(parts: Parts) -> None:
    def look_is_old() -> None:
        parts.bounds.looked_at = LONG_AGO

    parts.journal.happens = look_is_old
    run = asyncio.create_task(parts.sending.run())
    await eventually(lambda: parts.journal.happens is None and not parts.sending.under_way)
    assert parts.engine.was_fresh == []
    parts.bounds.looked_at = NOW
    await run
    await parts.journal.flush()
    assert parts.engine.was_fresh == [True]
    assert parts.recorded.completed == 1


async def test_it_is_not_asked_when_nothing_is_to_be_begun_any_more(parts: Parts) -> None:
    parts.journal.happens = parts.sending.stop
    await parts.sending.run()
    await parts.sending.drain(lambda: False)
    await parts.journal.flush()
    assert parts.engine.was_fresh == []
    assert parts.recorded.count == 0


@pytest.mark.parametrize(
    ("bounds", "pauses"),
    [
        (Bounds(), [0.2, 0.2, 0.2, 0.2]),
        # As where several runners have one engine: each is bounded for as long as it runs.
        (Bounds(most=8), [1.0, 2.0, 4.0, 4.0]),
        (Bounds(share=0.25, interactive=1), [1.0, 1.0, 1.0, 1.0]),
        # No bound where it is: the limit may rise up to there.
        (Bounds(most=START), [0.2, 0.2, 0.2, 0.2]),
    ],
)
async def test_where_the_limit_is_bounded_the_engine_is_looked_at_seldom(
    parts: Parts, bounds: Bounds, pauses: list[float]
) -> None:
    parts.bounds.most, parts.bounds.share = bounds.most, bounds.share
    parts.bounds.interactive = bounds.interactive
    found, steady = [FIRST_LOOK_S], not bounds.interactive
    for _ in pauses:
        found.append(next_look_s(found[-1], rises=parts.sending.rises, steady=steady))
    assert found[1:] == pauses


async def test_with_the_last_line_on_its_way_the_engine_is_looked_at_seldom(parts: Parts) -> None:
    assert parts.sending.rises
    await parts.sending.run()
    assert not parts.sending.rises
