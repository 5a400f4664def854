"""A runner in this process, with an engine that is a value: what is hard to meet with real ones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from batch import errors
from batch.folder import Folder
from batch.job import Job
from batch.outcome import Status
from batch.progress import Progress, Stage
from batch.runner import Runner, next_look_s
from batch.transports.transport import EngineLoad, Reply, Request
from tests.support.batch_inputs import good_lines

LONG = 8 * 1024**2


class Engine:
    """Gives each request the same answer, after a moment."""

    name = "here"

    def __init__(self, answer: bytes = b"{}") -> None:
        self.under_way: list[int] = []
        self._answer = answer
        self._now = 0

    async def ask(self, request: Request) -> Reply:
        self._now += 1
        self.under_way.append(self._now)
        await asyncio.sleep(0.01)
        self._now -= 1
        return Reply(status=200, body=self._answer, request_id=request.request_id)

    async def ready(self) -> bool:
        return True

    async def load(self) -> EngineLoad | None:
        return None


@pytest.fixture
def job(tmp_path: Path) -> Job:
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(16))
    return Job(folder=Folder(tmp_path / "batch"), input=path, concurrency=8)


def runner(job: Job, engine: Engine) -> Runner:
    return Runner(job, engine, tell=lambda _: None)


async def test_one_that_is_to_leave_before_its_turn_leaves(job: Job) -> None:
    engine = Engine()
    early = runner(job, engine)
    early.leave()
    with pytest.raises(errors.Left):
        await early.run()
    assert (await runner(job, engine).run()).completed == 16


async def test_where_answers_are_long_few_lines_are_under_way(job: Job) -> None:
    engine = Engine(b'{"long": "%b"}' % (b"x" * LONG))
    outcome = await runner(job, engine).run()
    assert (outcome.status, outcome.completed) == (Status.COMPLETED, 16)
    # Of the first ones nobody knew; then there are 32 MB at most, and one more.
    assert max(engine.under_way[:8]) == 8
    assert max(engine.under_way[8:]) <= 5


class EngineForSome(Engine):
    """Has its runner leave when it has answered so many."""

    def __init__(self, count: int) -> None:
        super().__init__(b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}')
        self.runner: Runner | None = None
        self._left = count

    async def ask(self, request: Request) -> Reply:
        reply = await super().ask(request)
        self._left -= 1
        if self._left == 0 and self.runner is not None:
            self.runner.leave()
        return reply


async def some_lines_done(job: Job) -> dict[str, Any]:
    """Have a runner answer some lines and leave; return what it told last."""
    engine = EngineForSome(3)
    engine.runner = runner(job, engine)
    with pytest.raises(errors.Left):
        await engine.runner.run()
    told = dict(job.folder.progress() or {})
    assert 3 <= told["completed"] < 16
    return told


async def test_what_is_told_of_a_batch_never_falls_when_its_runner_is_replaced(job: Job) -> None:
    before = await some_lines_done(job)
    told: list[Progress] = []
    await Runner(job, Engine(), tell=told.append).run()
    # The first word is of before the journal was read.
    assert told[0].stage is Stage.VALIDATING
    first = told[0].to_wire()
    kept = ("total", "recorded", "completed", "failed", "use", "working_s")
    assert {name: first[name] for name in kept} == {name: before[name] for name in kept}
    counts = [one.completed for one in told]
    assert counts == sorted(counts)
    assert counts[-1] == 16


@pytest.mark.parametrize("content", [b"", b"{}", b'{"rules": {}}'])
async def test_what_was_validated_cannot_be_read_any_more(job: Job, content: bytes) -> None:
    job.folder.make()
    (job.folder.path / "batch.json").write_bytes(content)
    with pytest.raises(errors.DiskFailed, match=r"batch\.json is damaged"):
        await runner(job, Engine()).run()
    assert job.folder.outcome() is None


async def test_what_a_killed_runner_left_half_written_is_gone_and_nobody_else_s(job: Job) -> None:
    job.folder.make()
    folder = job.folder.path
    killed = {".progress.json.0a1b", ".outcome.json.0a1b", ".output.jsonl.1", ".errors.jsonl.1"}
    # The agent may be about to rename this one.
    for name in (*killed, ".control.json.0a1b"):
        (folder / name).touch()
    await runner(job, Engine()).run()
    assert [path.name for path in folder.glob(".*")] == [".control.json.0a1b"]


def test_an_engine_where_nothing_changes_is_looked_at_ever_more_seldom():
    pauses = [0.2]
    for rises, steady in [(True, True)] + 5 * [(False, True)] + [(False, False), (False, True)]:
        pauses.append(next_look_s(pauses[-1], rises=rises, steady=steady))
    assert pauses == [0.2, 0.2, 1.0, 2.0, 4.0, 4.0, 4.0, 1.0, 2.0]
