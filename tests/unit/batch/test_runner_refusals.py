"""A runner before an engine that refuses: which lines fail, what is asked, and how it gives up."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from batch import errors
from batch.folder import Folder
from batch.job import Job
from batch.journal.record import Tries, pack
from batch.journal.segment import SegmentWriter
from batch.outcome import Status
from batch.runner import Runner
from batch.transports.transport import EngineLoad, Reply, Request
from tests.support.batch_inputs import good_lines

LINES = 400


class Engine:
    """Says what it is told to; `status` gets the line's number and how many requests there were."""

    name = "here"

    def __init__(self, status: Callable[[int, int], int], *, healthy: bool = True) -> None:
        self.asked: Counter[int] = Counter()
        self._status = status
        self._healthy = healthy

    async def ask(self, request: Request) -> Reply:
        line = int(request.request_id.split("-")[2])
        status = self._status(line, self.asked.total())
        self.asked[line] += 1
        body = b"{}" if status == 200 else b'{"error": {"message": "CUDA is gone"}}'
        return Reply(status=status, body=body, request_id=request.request_id)

    async def ready(self) -> bool:
        return self._healthy

    async def load(self) -> EngineLoad | None:
        return None


@pytest.fixture
def job(tmp_path: Path) -> Job:
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(LINES))
    return Job(folder=Folder(tmp_path / "batch"), input=path, concurrency=8, patience_s=1.5)


def of_lines(job: Job, count: int) -> Job:
    job.input.write_bytes(good_lines(count))
    return job


def tried(job: Job, *lines: int) -> None:
    """Have lines been tried five times in vain, by an earlier runner."""
    job.folder.make()
    epoch = job.folder.epochs.take()
    writer = SegmentWriter.create(job.folder.journal, epoch)
    writer.write(b"".join(pack(Tries(line=line, tries=5)) for line in lines))
    writer.close()


def run(job: Job, engine: Engine) -> Runner:
    return Runner(job, engine, tell=lambda _: None)


@pytest.mark.parametrize("status", [403, 404, 405, 500, 501])
async def test_an_engine_that_refuses_everything_is_given_up_and_costs_no_line(
    job: Job, status: int
):
    engine = Engine(lambda *_: status)
    with pytest.raises(errors.EngineFaulty) as raised:
        await run(job, engine).run()
    words = f"the engine at here refuses every line: status {status}, CUDA is gone"
    assert str(raised.value) == words
    told = job.folder.progress() or {}
    assert (told["recorded"], told["refusal"], told["reason"]) == (0, words, words)
    # The first window, and then one at a time, each time another one.
    assert engine.asked.total() <= 8 + 3
    assert len(engine.asked) == engine.asked.total()
    assert (await run(job, Engine(lambda *_: 200)).run()).completed == LINES


async def test_an_engine_that_comes_round_costs_no_line_and_no_line_is_asked_too_often(job: Job):
    engine = Engine(lambda _, count: 500 if 50 <= count < 56 else 200)
    outcome = await run(job, engine).run()
    assert (outcome.status, outcome.completed, outcome.failed) == (Status.COMPLETED, LINES, 0)
    assert engine.asked.total() == LINES + 6


async def test_lines_that_the_engine_refuses_beside_others_become_error_lines(job: Job):
    tried(job, 3, 200)
    engine = Engine(lambda line, _: 500 if line in {3, 200} else 200)
    outcome = await run(job, engine).run()
    assert (outcome.status, outcome.completed, outcome.failed) == (Status.COMPLETED, LINES - 2, 2)
    found = map(json.loads, (job.folder.path / "errors.jsonl").read_text().splitlines())
    assert [one["error"]["message"] for one in found] == ["CUDA is gone"] * 2


async def test_a_route_that_is_not_there_for_some_lines_fails_these_at_once(job: Job):
    engine = Engine(lambda line, _: 404 if line in {3, 200} else 200)
    outcome = await run(job, engine).run()
    assert (outcome.completed, outcome.failed) == (LINES - 2, 2)
    assert engine.asked[200] == 1


@pytest.mark.parametrize("count", [1, 16])
async def test_a_batch_of_few_lines_that_are_all_refused_ends_with_error_lines(
    job: Job, count: int
):
    tried(of_lines(job, count), *range(1, count + 1))
    engine = Engine(lambda *_: 500)
    outcome = await run(replace(job, concurrency=count), engine).run()
    assert (outcome.status, outcome.failed) == (Status.COMPLETED, count)


async def test_why_a_batch_of_few_lines_waits_is_said_in_the_engine_s_words(job: Job):
    reasons: list[str] = []
    engine = Engine(lambda *_: 404)
    runner = Runner(of_lines(job, 2), engine, tell=lambda progress: reasons.append(progress.reason))
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(60):
        while engine.asked.total() < 6:  # noqa: ASYNC110 - the engine gives no event
            await asyncio.sleep(0.05)
    runner.leave(within_s=0.0)
    with pytest.raises(errors.Left):
        await running
    words = "the engine at here refuses every line: status 404, CUDA is gone"
    assert set(reasons) - {""} == {words}


async def test_a_line_that_speaks_for_itself_is_not_asked_of_an_engine_that_is_not_ready(job: Job):
    engine = Engine(lambda *_: 500, healthy=False)
    with pytest.raises(errors.EngineGone) as raised:
        await run(of_lines(job, 1), engine).run()
    assert engine.asked.total() == 1
    assert str(raised.value) == "the engine at here does not answer"
    assert not isinstance(raised.value, errors.EngineFaulty)


async def test_a_key_that_is_refused_is_told_to_who_oversees_the_batch(job: Job):
    with pytest.raises(errors.EngineFaulty, match="401"):
        await run(job, Engine(lambda *_: 401)).run()
    assert "401" in (job.folder.progress() or {})["refusal"]


@pytest.mark.parametrize("done", [0, 150])
async def test_what_is_done_of_a_batch_that_is_given_up_is_written_out(job: Job, done: int):
    """The last 250 lines are bad: nobody vouches for them, and they are too many to be believed."""
    with pytest.raises(errors.EngineFaulty):
        await run(job, Engine(lambda line, _: 500 if line > done else 200)).run()
    (job.folder.path / "control.json").write_text('{"given_up": "refused six times"}')
    outcome = await run(job, Engine(lambda *_: 200)).run()
    assert (outcome.status, outcome.reason) == (Status.COMPLETED, "refused six times")
    assert (outcome.total, outcome.completed, outcome.failed) == (LINES, done, LINES - done)
    answers = job.folder.path / "output.jsonl"
    assert len(answers.read_text().splitlines() if done else []) == done
    found = list(map(json.loads, (job.folder.path / "errors.jsonl").read_text().splitlines()))
    assert len(found) == LINES - done
    assert found[0]["error"] == {
        "code": "batch_given_up",
        "message": "This request could not be executed. refused six times",
    }


async def test_a_slow_line_may_yet_vouch_when_patience_is_over(job: Job):
    """Line 1 is refused while line 2 takes longer than the patience: nothing is given up."""
    release = SlowEngine()
    outcome = await run(replace(of_lines(job, 20), concurrency=2), release).run()
    assert (outcome.completed, outcome.failed) == (20, 0)


class SlowEngine(Engine):
    """Refuses all but one line until that one was answered, which takes a while."""

    def __init__(self) -> None:
        super().__init__(lambda *_: 200)
        self._served = False

    async def ask(self, request: Request) -> Reply:
        line = int(request.request_id.split("-")[2])
        if line == 2:
            await asyncio.sleep(3.0)
            self._served = True
        self._status = lambda *_: 200 if self._served else 500
        return await super().ask(request)
