"""More lines at once than an engine lets wait before its socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from batch.folder import Folder
from batch.job import Job
from batch.journal import segment
from batch.journal.record import Answer, unframe, unpack
from batch.progress import Progress, Stage
from batch.runner import Runner
from batch.transports import http
from batch.transports.http import EngineAddress
from tests.support.batch_inputs import good_lines
from tests.support.eventually import eventually

BACKLOG, LINES = 128, 256


@asynccontextmanager
async def serving(listening: socket.socket) -> AsyncIterator[None]:
    """Let in who waits, and answer."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, listening, backlog=BACKLOG).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_lines_that_find_no_place_are_asked_again_and_nothing_is_counted(tmp_path: Path):
    path, place = tmp_path / "in.jsonl", tmp_path / "engine.sock"
    path.write_bytes(good_lines(LINES))
    job = Job(folder=Folder(tmp_path / "batch"), input=path, concurrency=LINES)
    told: list[Progress] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen(BACKLOG)
        address = EngineAddress(paths=frozenset({"/v1/chat/completions"}), socket=place)
        async with http.opened(address) as engine:
            run = asyncio.create_task(Runner(job, engine, tell=told.append).run())
            await eventually(lambda: told and told[-1].stage is Stage.WAITING)
            async with serving(listening):
                outcome = await run
    assert (outcome.completed, outcome.failed) == (LINES, 0)
    # Of a line that was lost, or tried in vain, there would be a word before its answer.
    found = [unframe(content) for _, content in segment.read(job.folder.journal, 1)]
    records = [unpack(payload) for payload in found[1:-1] if payload is not None]
    assert len(records) == LINES
    assert all(isinstance(record, Answer) and record.attempts == 1 for record in records)
