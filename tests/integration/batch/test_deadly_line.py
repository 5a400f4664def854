"""A line that kills the engine it is asked of: a real process, which is started anew each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from batch.company import MOST_LOSSES
from tests.support.batch_runs import (
    BatchEngine,
    batch_engine_in,
    finished,
    line,
    results,
    write_input,
)

LINES, DEADLY = 150, 70


@asynccontextmanager
async def brought_back(engine: BatchEngine) -> AsyncIterator[None]:
    """Start the engine anew whenever it has died."""

    async def again_and_again() -> None:
        while True:
            await engine.dead()
            await engine.start()

    bringing = asyncio.create_task(again_and_again())
    try:
        yield
    finally:
        bringing.cancel()
        await asyncio.wait({bringing})


async def test_a_line_that_kills_its_engine_fails_and_its_neighbours_do_not(tmp_path: Path):
    lines = (line(number, "kill" if number == DEADLY else None) for number in range(LINES))
    path, folder = write_input(tmp_path / "in.jsonl", lines), tmp_path / "batch"
    async with batch_engine_in(tmp_path, delay_s=0.02) as engine, brought_back(engine):
        options = (str(path), "--socket", str(engine.socket), "--concurrency", "64")
        assert await finished(folder, *options) == 0
        asked = engine.asked
    by_id = {one["custom_id"]: one["error"] for one in results(folder)}
    assert len(by_id) == len(results(folder)) == LINES
    failed = {name: error["code"] for name, error in by_id.items() if error is not None}
    assert failed == {f"line-{DEADLY}": "connection_lost"}
    assert asked["kill"] == MOST_LOSSES
