"""A runner in this process, with an engine that is a value: what is hard to meet with real ones."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batch import errors, whole_file
from batch.folder import Folder, Manifest
from batch.job import Job
from batch.outcome import Outcome, Status
from batch.progress import Progress, Stage
from batch.runner import ENGINE_LOOK_S, Runner, next_look_s
from batch.transports.no_engine import NoEngine
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


class EngineThatTells(Engine):
    """Says that it is idle, and notes when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at: list[float] = []

    async def load(self) -> EngineLoad | None:
        self.looked_at.append(time.monotonic())
        return EngineLoad(running=1, waiting=0)


async def test_while_callers_leave_little_the_engine_is_not_asked_how_busy_it_is(
    tmp_path: Path, job: Job
) -> None:
    """The page that it writes then makes callers wait."""
    load, engine = tmp_path / "load.json", EngineThatTells()

    def tell(callers: int) -> None:
        said = {"interactive": callers, "allowance": 0.001, "at": time.time()}
        whole_file.replace(load, json.dumps(said).encode())

    job.folder.make()
    whole_file.replace(job.folder.path / "control.json", b'{"share": 0.5}')
    tell(callers=1)
    running = asyncio.create_task(runner(replace(job, concurrency=None, load=load), engine).run())
    await asyncio.sleep(3 * ENGINE_LOOK_S)
    assert len(engine.looked_at) <= 1
    tell(callers=0)
    assert (await asyncio.wait_for(running, 30.0)).completed == 16


class EngineNobodyAsks(NoEngine):
    """Fails the run that asks it anything."""

    async def ask(self, request: Request) -> Reply:
        raise AssertionError(request.request_id)


async def without_engine(job: Job) -> Outcome:
    alone = Runner(replace(job, has_engine=False), EngineNobodyAsks(), tell=lambda _: None)
    return await alone.run()


async def test_without_an_engine_an_input_is_looked_through_for_the_next_runner(job: Job) -> None:
    with pytest.raises(errors.Left, match="the input is good"):
        await without_engine(job)
    manifest, told = job.folder.manifest(), job.folder.progress()
    assert manifest is not None
    assert told is not None
    assert (manifest.total, told["total"], told["stage"]) == (16, 16, Stage.VALIDATING)
    outcome = await runner(job, Engine()).run()
    # It is the first one that did anything, and no other was lost.
    assert (outcome.completed, outcome.epoch, outcome.resumed) == (16, 2, 0)
    assert job.folder.manifest() == manifest
    assert [path.name for path in job.folder.journal.iterdir()] == ["2.journal"]


async def test_without_an_engine_mistakes_end_a_batch(job: Job) -> None:
    job.input.write_bytes(good_lines(3) + good_lines(1))
    outcome = await without_engine(job)
    assert (outcome.status, outcome.error_count) == (Status.FAILED, 1)
    assert [(one.code, one.line) for one in outcome.errors] == [("duplicate_custom_id", 4)]
    assert job.folder.manifest() is None


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"cancel": True}, Status.CANCELLED),
        ({"expires_at": 1.0}, Status.EXPIRED),
        ({"given_up": "it died"}, Status.COMPLETED),
    ],
)
async def test_without_an_engine_a_batch_is_ended_that_is_to_end(
    job: Job, told: dict[str, object], status: Status
) -> None:
    before = await some_lines_done(job)
    whole_file.replace(job.folder.control, whole_file.packed(told))
    outcome = await without_engine(job)
    assert (outcome.status, outcome.completed) == (status, before["completed"])
    assert outcome.error_file is not None
    assert outcome.error_file.lines == 16 - outcome.completed


class FolderCancelledMeanwhile(Folder):
    """That of a batch which somebody cancels when its input was just found to be good."""

    __slots__ = ()

    def put_manifest(self, manifest: Manifest) -> Manifest:
        found = super().put_manifest(manifest)
        whole_file.replace(self.control, json.dumps({"cancel": True}).encode())
        return found


async def test_without_an_engine_who_leaves_has_looked_at_what_it_is_told(job: Job) -> None:
    folder = FolderCancelledMeanwhile(job.folder.path)
    outcome = await without_engine(replace(job, folder=folder))
    assert (outcome.status, outcome.total, outcome.completed) == (Status.CANCELLED, 16, 0)


async def test_without_an_engine_a_batch_of_which_all_is_recorded_is_over(job: Job) -> None:
    await runner(job, Engine()).run()
    job.folder.forget_outcome()
    job.folder.output.unlink()
    outcome = await without_engine(job)
    assert (outcome.status, outcome.completed) == (Status.COMPLETED, 16)
    assert job.folder.output.exists()


async def test_where_there_is_no_engine_nothing_is_sent() -> None:
    none = NoEngine()
    with pytest.raises(errors.NotSent):
        await none.ask(Request(path="/v1/rerank", body=b"{}", request_id="r"))
    assert (await none.ready(), await none.load()) == (False, None)
