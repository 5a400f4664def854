"""Runners as children: one that does nothing any more does not hold its batch up."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from batch.control import Control
from compute_functions.batch_keeper.runner_command import Target
from compute_functions.batch_keeper.runners import Runners
from compute_functions.batch_spool import control, fate
from compute_functions.batch_spool.told import Progress
from compute_functions.site import VARIABLE
from tests.support.batch_orders import BatchSite, batch_site, lines, order, sum_of
from tests.support.batch_runs import BatchEngine, batch_engine_in
from tests.support.eventually import eventually

BATCH = "batch_00000001"
#: Four at a time, each in a tenth of a second: a runner works on them for longer than it may be
#: silent.
LINES = 280
SILENT_S = 5.0


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[BatchEngine]:
    async with batch_engine_in(tmp_path, delay_s=0.1) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    made = batch_site(tmp_path)
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    made.taken(order(BATCH, upload=sum_of(lines(LINES))))
    made.upload(lines(LINES))
    assert fate.begin(made.folder(), now=1.0)
    control.write(made.folder(), Control(concurrency=4))
    return made


def completed(site: BatchSite) -> int:
    told = Progress.read(site.folder())
    return 0 if told is None else told.completed


async def test_a_runner_that_is_silent_is_killed_and_one_that_works_is_not(
    site: BatchSite, engine: BatchEngine
) -> None:
    target = Target(endpoint=str(engine.socket))
    runners = Runners(site.spool, target=lambda: target, changed=lambda: None, silent_s=SILENT_S)
    try:
        runners.begin(BATCH, 1)
        await eventually(lambda: completed(site) > 0, seconds=60)
        (run,) = runners.runs
        assert run.status is None
        os.kill(run.pid, signal.SIGSTOP)
        await eventually(lambda: runners.runs[0].status is not None, seconds=60)
        assert runners.runs[0].status == -signal.SIGKILL
        runners.begin(BATCH, 2)
        await eventually(lambda: runners.runs[0].status is not None, seconds=60)
        assert runners.runs[0].status == 0
    finally:
        await runners.close()
    assert completed(site) == LINES
