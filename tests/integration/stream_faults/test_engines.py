"""The engine breaks, dies, falls silent or says very much."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from lab.processes import Child, Command, running
from lab.stand_in import clean_environment
from tests.support import paced_engine
from tests.support.engine_process import engine_on_socket
from tests.support.faults import MODEL, ROUTE, Plant
from tests.support.launches import write_engine, write_model
from tests.support.relay_site import FRAMEWORK, PATH

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(200)]


async def test_an_engine_that_breaks_off_before_the_first_event_is_a_status(whole: Plant) -> None:
    reading = whole.begin(tokens=9, break_at=0)
    assert await whole.ended(reading) == "refused"
    assert (reading.status, reading.error["code"]) == (503, "backend_interrupted")
    assert len(whole.served(reading.tag)) == 1


async def test_an_engine_that_keeps_its_answer_open_keeps_nobody_waiting(whole: Plant) -> None:
    reading = whole.begin(tokens=9, keeps_open=True)
    # The gateway would wait nine minutes for what an engine does not say.
    assert await whole.ended(reading) == "whole"
    async with asyncio.timeout(20):
        await whole.served(reading.tag)[0].hung_up.wait()


async def test_an_engine_s_own_error_before_the_first_event_is_its_status(whole: Plant) -> None:
    reading = whole.begin(refuse=422)
    await reading.end()
    assert (reading.status, reading.body) == (422, b'{"error": "no"}')


@pytest.mark.parametrize("at", [1, 2, 30])
async def test_an_engine_that_breaks_off_within_its_answer_is_an_error(
    whole: Plant, at: int
) -> None:
    reading = whole.begin(tokens=40, break_at=at)
    ended = await whole.ended(reading)
    assert ended == ("refused" if at == 1 else "error")
    assert reading.error["code"] == "backend_interrupted"


@pytest.mark.row("U-13")
async def test_the_openai_sdk_raises_what_the_engine_broke_off(whole: Plant) -> None:
    base = f"{whole.gateway.url}{ROUTE.removesuffix('/chat/completions')}"
    async with openai.AsyncOpenAI(base_url=base, api_key=whole.token, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            extra_body={"tag": "sdk", "tokens": 9, "break_at": 5},
        )
        came = [await anext(stream) for _ in range(4)]
        with pytest.raises(openai.APIError) as broken:
            await anext(stream)
    assert broken.value.code == "backend_interrupted"
    assert [(chunk.model_extra or {})["n"] for chunk in came] == [1, 2, 3, 4]


async def test_events_of_two_megabytes_pass_whole(whole: Plant) -> None:
    readings = [whole.begin(tokens=5, pad=2_000_000) for _ in range(4)]
    small = whole.begin(tokens=50, every_s=0.01)
    assert [await whole.ended(reading) for reading in readings] == ["whole"] * 4
    assert await whole.ended(small) == "whole"


async def test_an_engine_that_is_killed_ends_its_streams_honestly(
    shared: Plant, tmp_path: Path
) -> None:
    async with (
        engine_on_socket(tmp_path) as (engine, socket),
        replace(shared.relay, socket=socket).running(),
    ):
        await shared.linked()
        readings = [shared.begin(tokens=1000, every_s=0.02) for _ in range(20)]
        for reading in readings:
            await reading.until(b'"n":3,')
        os.killpg(engine.pid, signal.SIGKILL)
        for reading in readings:
            await reading.end()
            assert reading.judged((tmp_path / reading.tag).read_bytes()) == "error"
            assert reading.error["code"] == "backend_interrupted"
        # Nothing was sent to an engine that is gone.
        late = shared.begin(tokens=3)
        await late.end()
        assert (late.status, late.error["code"]) == (503, "backend_unavailable")


async def test_a_dead_engine_whose_relay_lives_costs_no_request(
    shared: Plant, tmp_path: Path
) -> None:
    """Its relay has the least work of all, so that each request goes there first."""
    dead = replace(shared.relay, name="instance-2", socket=tmp_path / "gone.sock")
    async with shared.relay.running(), dead.running():
        await shared.linked(2)
        readings = [shared.begin(tokens=20, every_s=0.01) for _ in range(30)]
        assert [await shared.ended(reading) for reading in readings] == ["whole"] * 30
    log = shared.gateway.process.command.log.read_text(encoding="utf-8")
    assert log.count('"engine_unreachable"') > 1, "nobody asked the dead one"


@asynccontextmanager
async def launched(plant: Plant, folder: Path) -> AsyncIterator[Child]:
    """Run the launcher with its own engine, which records into the folder, and its relay."""
    engine: dict[str, Any] = {
        "framework": FRAMEWORK,
        "command": [
            *(sys.executable, paced_engine.__file__, "--socket", "{socket}"),
            *("--record", str(folder), "--model", "{model}", "{model_path}"),
        ],
        "paths": {PATH: PATH},
        "probes": {},
    }
    command = Command(
        name="the launcher",
        arguments=[
            *(sys.executable, "-m", "compute_functions.launcher"),
            *("--engine", str(write_engine(folder, **engine))),
            *("--model", str(write_model(folder, id=MODEL, routes=["chat/completions"]))),
            *("--site-dir", str(plant.relay.site_dir), "--runtime-dir", str(folder)),
        ],
        log=folder / "launcher.log",
        environment=clean_environment(),
    )
    async with running(command) as child:
        await plant.linked()
        yield child


async def test_a_launcher_whose_engine_is_killed_tells_the_hub_and_ends(
    shared: Plant, tmp_path: Path
) -> None:
    async with launched(shared, tmp_path) as launcher:
        readings = [shared.begin(tokens=1000, every_s=0.02) for _ in range(5)]
        for reading in readings:
            await reading.until(b'"n":3,')
        [engine] = [pid for pid in descendants(launcher.pid) if "--socket" in words(pid)]
        os.kill(engine, signal.SIGKILL)
        for reading in readings:
            await reading.end(seconds=20)
            assert reading.judged((tmp_path / reading.tag).read_bytes()) == "error"
        assert await launcher.left(within_s=30) == 1
    # The link has ended, and was not cut: nobody waits for it.
    await shared.linked(0)
    late = shared.begin(tokens=3)
    await late.end()
    assert (late.status, late.error["code"]) == (503, "model_not_running")


def descendants(pid: int) -> Iterator[int]:
    """Yield all processes that came from one."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text(encoding="ascii").split():
            yield int(child)
            yield from descendants(int(child))


def words(pid: int) -> list[str]:
    """Return a process's command."""
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
