"""A runner whose engine dies under it, by a line or by itself, or leaves lines unanswered."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from typing_extensions import override

from batch import errors
from batch.company import ALONE_FROM, COMPANY, MOST_LOSSES
from batch.concurrency import MOST
from batch.folder import Folder
from batch.job import Job
from batch.journal import replay, segment
from batch.journal.record import Asked, unframe, unpack
from batch.outcome import Outcome, Status
from batch.runner import Runner
from batch.transports.transport import EngineLoad, Reply, Request
from tests.support.batch_inputs import good_lines
from tests.support.eventually import eventually

LINES = 100


class MortalEngine:
    """Dies of some lines, with all that it has; it is there again when it is asked how it is.

    A `sudden` death leaves nobody the time to hear of it.
    """

    name = "here"

    def __init__(self, killers: Collection[int], *, sudden: bool = False) -> None:
        self.asked: Counter[int] = Counter()
        self.deaths = 0
        self.died = asyncio.Event()
        #: How many lines it had in the end of each life.
        self.had: list[int] = []
        self._killers = killers
        self._sudden = sudden
        self._has = 0

    async def ask(self, request: Request) -> Reply:
        line = int(request.request_id.split("-")[2])
        self.asked[line] += 1
        self._has += 1
        life = self.died
        try:
            async with asyncio.timeout(0.01):
                await life.wait()
        except TimeoutError:
            if line in self._killers and not life.is_set():
                self.had.append(self._has)
                life.set()
        finally:
            self._has -= 1
        if not life.is_set():
            return Reply(status=200, body=b"{}", request_id=request.request_id)
        if self._sudden:
            await asyncio.get_running_loop().create_future()
        raise errors.BrokenOff("reset by peer")

    async def ready(self) -> bool:
        if self.died.is_set():
            self.died = asyncio.Event()
        return True

    async def load(self) -> EngineLoad | None:
        return None


@pytest.fixture
def job(tmp_path: Path) -> Job:
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(LINES))
    return Job(folder=Folder(tmp_path / "batch"), input=path, concurrency=40)


async def ended(job: Job, engine: MortalEngine) -> Outcome:
    """Have runners begin, each when the one before has died with its engine, until one ends."""
    while True:
        runner = asyncio.create_task(Runner(job, engine, tell=lambda _: None).run())
        died = asyncio.create_task(engine.died.wait())
        try:
            await asyncio.wait({runner, died}, return_when=asyncio.FIRST_COMPLETED)
            if runner.done():
                return runner.result()
        finally:
            for task in (runner, died):
                task.cancel()
            await asyncio.wait({runner, died})
        await engine.ready()


def failed(job: Job) -> dict[str, str]:
    """Return the code of each error line."""
    content = (job.folder.path / "errors.jsonl").read_text()
    lines = map(json.loads, content.splitlines())
    return {one["custom_id"]: one["error"]["code"] for one in lines}


async def test_a_line_that_kills_its_engine_is_the_only_error_line(job: Job):
    engine = MortalEngine({1})
    outcome = await Runner(job, engine, tell=lambda _: None).run()
    assert (outcome.status, outcome.completed, outcome.failed) == (Status.COMPLETED, LINES - 1, 1)
    assert failed(job) == {"request-0": "connection_lost"}
    assert engine.asked[1] == MOST_LOSSES
    first, second, *alone = engine.had
    assert (first, second <= COMPANY, alone) == (40, True, [1, 1])


async def test_a_line_that_kills_engine_and_runner_is_the_only_error_line(job: Job):
    engine = MortalEngine({1, 77}, sudden=True)
    outcome = await ended(job, engine)
    assert (outcome.completed, outcome.failed) == (LINES - 2, 2)
    assert failed(job) == dict.fromkeys(("request-0", "request-76"), "connection_lost")
    # What the first runner had asked nobody knows; of a line that had its record it is told twice.
    assert engine.asked[1] <= MOST_LOSSES + 1
    assert engine.had[-1] == 1


async def test_runners_that_die_by_themselves_spoil_no_line(job: Job):
    engine = MortalEngine(())
    for count in (10, 30, 50, 70, 90, 100, 110):
        runner = asyncio.create_task(Runner(job, engine, tell=lambda _: None).run())
        await eventually(lambda: engine.asked.total() >= count or runner.done())  # noqa: B023 - awaited here
        runner.cancel()
        await asyncio.wait({runner})
    outcome = await Runner(job, engine, tell=lambda _: None).run()
    assert (outcome.completed, outcome.failed) == (LINES, 0)


async def test_after_a_runner_that_died_only_lines_that_it_may_have_asked_are_noted(job: Job):
    job.input.write_bytes(good_lines(2_100))
    quick = Job(folder=job.folder, input=job.input, concurrency=200)
    engine = MortalEngine(())
    runner = asyncio.create_task(Runner(quick, engine, tell=lambda _: None).run())
    await eventually(lambda: engine.asked)
    runner.cancel()
    await asyncio.wait({runner})
    outcome = await Runner(quick, engine, tell=lambda _: None).run()
    assert (outcome.completed, outcome.failed) == (2_100, 0)
    found = (unframe(content) for _, content in segment.read(job.folder.journal, 2))
    records = [unpack(payload) for payload in found if payload is not None]
    assert sum(isinstance(record, Asked) for record in records) == 2 * MOST


class SilentEngine(MortalEngine):
    """Has what it was asked, and answers nothing."""

    def __init__(self) -> None:
        super().__init__(())
        self.reached = asyncio.Event()

    async def ask(self, request: Request) -> Reply:
        self.asked[int(request.request_id.split("-")[2])] += 1
        self.reached.set()
        return await asyncio.get_running_loop().create_future()


@dataclass(frozen=True, kw_only=True)
class FailingFolder(Folder):
    """Refuses the progress of a runner that has asked."""

    engine: SilentEngine

    @override
    def put_progress(self, values: Mapping[str, object]) -> None:
        if self.engine.reached.is_set():
            self.happens()
            raise OSError(errno.EIO, "out of order")
        super().put_progress(values)

    def happens(self) -> None:
        """Do what happens to the batch at that moment: nothing."""


@dataclass(frozen=True, kw_only=True)
class FailingFolderOfASuccessor(FailingFolder):
    """Another runner takes over then, which this one cannot see: its looks hang."""

    looking: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    @override
    def control(self) -> Path:
        if self.engine.reached.is_set():
            self.looking.set()
            assert self.over.wait(20)
        return super().control

    @override
    def happens(self) -> None:
        assert self.looking.wait(20)
        self.epochs.take()


async def fail(job: Job, folder: FailingFolder) -> None:
    """Have a runner's disk fail when it has asked a line."""
    with pytest.raises(errors.DiskFailed, match="out of order"):
        await Runner(replace(job, folder=folder), folder.engine, tell=lambda _: None).run()
    assert folder.engine.asked


async def test_a_line_whose_runners_end_for_their_disk_is_never_to_blame(job: Job):
    job.input.write_bytes(good_lines(1))
    for _ in range(MOST_LOSSES + 1):
        await fail(job, FailingFolder(job.folder.path, engine=SilentEngine()))
    journal = job.folder.journal
    recorded = replay.replay(journal, 1, ends=replay.seals(journal)).recorded
    assert (recorded.losses, recorded.died) == ({}, False)
    outcome = await Runner(job, MortalEngine(()), tell=lambda _: None).run()
    assert (outcome.completed, outcome.failed) == (1, 0)


async def test_a_runner_that_was_taken_over_says_nothing_of_its_end(job: Job):
    folder = FailingFolderOfASuccessor(job.folder.path, engine=SilentEngine())
    await fail(job, folder)
    folder.over.set()
    assert not segment.has_left(job.folder.journal, 1)


class LeavingEngine(MortalEngine):
    """Ends when its runner is told to leave, as a job does at its walltime."""

    def __init__(self) -> None:
        super().__init__(())
        self.reached = asyncio.Event()

    async def ask(self, request: Request) -> Reply:
        self.asked[int(request.request_id.split("-")[2])] += 1
        self.reached.set()
        await self.died.wait()
        raise errors.BrokenOff("reset by peer")


async def test_a_line_that_is_lost_while_its_runner_leaves_is_never_to_blame(job: Job):
    job.input.write_bytes(good_lines(1))
    for _ in range(MOST_LOSSES + 1):
        engine = LeavingEngine()
        runner = Runner(job, engine, tell=lambda _: None)
        run = asyncio.create_task(runner.run())
        await engine.reached.wait()
        runner.leave()
        engine.died.set()
        with pytest.raises(errors.Left):
            await run
    journal = job.folder.journal
    recorded = replay.replay(journal, 1, ends=replay.seals(journal)).recorded
    assert recorded.losses == {1: ALONE_FROM}
    outcome = await Runner(job, MortalEngine(()), tell=lambda _: None).run()
    assert (outcome.completed, outcome.failed) == (1, 0)


class UselessEngine(MortalEngine):
    """Is healthy, and answers nothing that is of use."""

    def __init__(self, event: Reply | errors.CallFailed) -> None:
        super().__init__(())
        self._event = event

    async def ask(self, request: Request) -> Reply:
        self.asked[int(request.request_id.split("-")[2])] += 1
        if isinstance(self._event, Reply):
            return self._event
        raise self._event


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Reply(status=200, body=b"<html>", request_id="r"), "refuses every line: status 200"),
        (errors.TimedOut("no answer"), "leaves every line without an answer: no answer"),
        (errors.BrokenOff("reset"), "leaves every line without an answer: reset"),
    ],
)
async def test_an_engine_that_is_of_no_use_is_given_up_and_costs_no_line(
    job: Job, event: Reply | errors.CallFailed, words: str
):
    quick = Job(folder=job.folder, input=job.input, concurrency=8, patience_s=1.0)
    useless = UselessEngine(event)
    with pytest.raises(errors.EngineFaulty, match=f"the engine at here {words}"):
        await Runner(quick, useless, tell=lambda _: None).run()
    assert words in (job.folder.progress() or {})["refusal"]
    # A window, and then one at a time, each time another one.
    assert useless.asked.total() <= 8 + 3
    assert set(useless.asked.values()) == {1}
    # It left by itself: its successor need not note what it asks.
    journal = job.folder.journal
    assert not replay.replay(journal, LINES, ends=replay.seals(journal)).recorded.died
    outcome = await Runner(quick, MortalEngine(()), tell=lambda _: None).run()
    assert (outcome.completed, outcome.failed) == (LINES, 0)
