"""The spool and a real runner on it: what runners leave behind is what the gateway is told."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batch.control import Control
from compute_functions.batch_spool import control
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.batch_spool.delivery import Delivery
from compute_functions.batch_spool.fate import begin
from compute_functions.contract.batches import (
    BatchFile,
    BatchOrder,
    BatchReport,
    BatchState,
    BatchVerb,
    FileSum,
    Piece,
)
from compute_functions.site import VARIABLE
from tests.support import open_folder
from tests.support.batch_orders import (
    ENDPOINT,
    BatchSite,
    alices_site,
    batch_site,
    content_of,
    lines,
    order,
    sum_of,
)
from tests.support.batch_runs import batch_engine_in, batch_run, finished
from tests.support.eventually import eventually

BATCH = "batch_00000001"
PIECE = 4_000


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    made = batch_site(tmp_path)
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    return made


@pytest.fixture
def shared() -> Iterator[Path]:
    if not open_folder.is_root:
        pytest.skip("only root gives files to other users")
    with open_folder.open_folder() as folder:
        yield folder


def assign(site: BatchSite, epoch: int) -> str:
    """Do what the agent does before it has a batch run, and return the runner's folder."""
    folder = site.folder()
    assert begin(folder, now=1.0)
    AgentState(fence=1, epoch=epoch, instance="tiny-1").write(folder)
    return str(folder.work)


def fetched(site: BatchSite, file: BatchFile, wanted: FileSum | None) -> list[dict[str, object]]:
    """Fetch a result as a gateway does, and return its lines."""
    assert wanted is not None
    content = b""
    while len(content) < wanted.bytes:
        piece = site.piece(file, len(content))
        assert isinstance(piece, Piece)
        assert piece.size == wanted.bytes
        content += piece.content
    assert sum_of(content) == wanted
    return [json.loads(line) for line in content.splitlines()]


def uploaded(site: BatchSite, count: int, **changes: Any) -> BatchOrder:
    content = lines(count)
    wanted = order(upload=sum_of(content), **changes)
    site.taken(wanted)
    for offset in range(0, len(content), PIECE):
        site.piece(BatchFile.INPUT, offset, content[offset : offset + PIECE])
    return wanted


async def test_an_uploaded_batch_is_run_and_its_results_are_fetched(
    site: BatchSite, tmp_path: Path
) -> None:
    uploaded(site, 100)
    async with batch_engine_in(tmp_path) as engine:
        work = assign(site, 1)
        assert await finished(Path(work), "--socket", str(engine.socket), "--epoch", "1") == 0

    told = site.report()
    assert (told.state, told.total, told.completed, told.failed) == (
        BatchState.COMPLETED,
        100,
        100,
        0,
    )
    assert told.endpoint == ENDPOINT
    assert told.use.input_tokens > 0
    assert told.error_file is None
    assert told.working_s > 0
    assert told.ended_at is not None
    records = fetched(site, BatchFile.OUTPUT, told.output)
    assert [one["custom_id"] for one in records] == [f"line-{n}" for n in range(100)]


async def test_a_batch_is_followed_over_two_runners_and_cancelled(
    site: BatchSite, tmp_path: Path
) -> None:
    uploaded(site, 400)
    async with batch_engine_in(tmp_path, delay_s=0.05) as engine:
        options = ("--socket", str(engine.socket), "--concurrency", "4")
        work = Path(assign(site, 1))
        control.write(site.folder(), Control(expires_at=4e9))

        def running() -> BatchReport:
            return site.report()

        async with batch_run(work, *options, "--epoch", "1") as run:
            await eventually(lambda: running().completed > 0)
            told = running()
            assert (told.state, told.total) == (BatchState.RUNNING, 400)
            run.signal(signal.SIGTERM)
            assert await run.ended() == 4
        AgentState(fence=1, epoch=1, reason="its instance ended").write(site.folder())
        waiting = site.report()
        assert (waiting.state, waiting.reason) == (BatchState.WAITING, "its instance ended")
        before = waiting.completed

        assert site.folder().highest_epoch() == 1
        work = Path(assign(site, 2))
        async with batch_run(work, *options, "--epoch", "2") as run:
            await eventually(lambda: running().completed > before)
            site.ask(BatchVerb.CANCEL, BATCH)
            assert await run.ended() == 0

    told = site.report()
    assert (told.state, told.resumed) == (BatchState.CANCELLED, 1)
    assert before < told.completed < 400
    answers = fetched(site, BatchFile.OUTPUT, told.output)
    never = fetched(site, BatchFile.ERRORS, told.error_file)
    assert len({one["custom_id"] for one in (*answers, *never)}) == len(answers) + len(never) == 400


@pytest.mark.row("C-42", "C-46", "C-48")
async def test_a_persons_file_is_run_and_the_results_come_to_that_person(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = alices_site(shared)
    monkeypatch.setenv(VARIABLE, str(site.site.root))
    project = shared / "project"
    site.taken(
        order(
            upload=None,
            input_path=str(project / "input.jsonl"),
            output_folder=str(project / "out"),
        )
    )
    async with batch_engine_in(shared) as engine:
        work = assign(site, 1)
        assert await finished(Path(work), "--socket", str(engine.socket), "--epoch", "1") == 0
    assert site.report().state is BatchState.FINALIZING
    Delivery(site.access).attend(site.view(), now=1.0)

    told = site.report()
    assert told.state is BatchState.COMPLETED
    assert told.results_path is not None
    found = content_of(Path(told.results_path))
    assert [one["custom_id"] for one in found] == ["line-0", "line-1", "line-2"]


async def test_an_input_that_only_the_runner_looks_through_fails_with_its_errors(
    site: BatchSite, tmp_path: Path
) -> None:
    """As one that is too large to be looked through when it comes."""
    content = lines(3)
    site.taken(order(upload=sum_of(content), model="org/tiny"))
    site.folder().input.write_bytes(content + content)
    async with batch_engine_in(tmp_path) as engine:
        work = assign(site, 1)
        assert await finished(Path(work), "--socket", str(engine.socket), "--epoch", "1") == 3

    told = site.report()
    assert (told.state, told.error_count) == (BatchState.FAILED, 3)
    assert [(one.code, one.line) for one in told.errors] == [
        ("duplicate_custom_id", 4),
        ("duplicate_custom_id", 5),
        ("duplicate_custom_id", 6),
    ]
    assert told.reason
