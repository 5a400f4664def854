"""`serve --workers 2` with its stores: it answers, and outlives the death of each of its parts."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.compute_site import MODEL
from tests.support.eventually import eventually, eventually_so
from tests.support.gateway_processes import WORKERS, Processes, write_catalog

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


NAMES = ["hub", "controller", *(f"web-{n}" for n in range(1, WORKERS + 1))]


class Stream:
    """Callers that ask one after the other, all the time; `statuses` counts what they got."""

    def __init__(self, processes: Processes, callers: int = 4) -> None:
        self.statuses: Counter[int] = Counter()
        self._processes = processes
        self._callers = callers
        self._told = asyncio.Event()

    async def more(self, count: int) -> None:
        """Wait until so many more were answered with 200."""
        aim = self.statuses[200] + count
        await eventually(lambda: self.statuses[200] >= aim, seconds=60)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Ask beside the body, and let the last requests finish."""
        async with asyncio.TaskGroup() as callers:
            for _ in range(self._callers):
                callers.create_task(self._ask())
            try:
                await self.more(self._callers)
                yield
            finally:
                self._told.set()

    async def _ask(self) -> None:
        while not self._told.is_set():
            reply = await self._processes.ask(n=1)
            self.statuses[reply.status] += 1


async def settled(processes: Processes) -> None:
    """Wait until every part answers again."""

    async def ready() -> bool:
        return (await processes.ready()).body["status"] == "ok"

    await eventually_so(ready, seconds=60, every_s=0.1)


async def test_requests_are_answered(processes: Processes) -> None:
    replies = await asyncio.gather(*(processes.ask(n=n) for n in range(40)))
    assert [reply.body for reply in replies] == [{"model": MODEL, "n": n} for n in range(40)]


async def test_it_is_ready_when_every_part_is(processes: Processes) -> None:
    ready = await processes.ready()
    assert (ready.status, ready.body["checks"]) == (
        200,
        {"database": True, "globus_auth": True, "hub": True, "redis": True},
    )


async def test_every_worker_s_requests_share_submissions(processes: Processes) -> None:
    before = len(processes.log("globus_submitted"))
    await asyncio.gather(*(processes.ask(n=n) for n in range(60)))
    submitted = processes.log("globus_submitted")[before:]
    assert sum(entry["tasks"] for entry in submitted) == 60
    assert len(submitted) < 20


async def test_a_web_process_that_dies_is_replaced(processes: Processes) -> None:
    stream = Stream(processes)
    async with stream.flowing():
        await processes.kill("web-1")
        await stream.more(20)
    # What it had under way broke off: at most one request of each caller.
    assert set(stream.statuses) <= {200, 0}
    assert stream.statuses[0] <= 4


async def test_when_the_hub_dies_its_requests_say_so_and_the_next_ones_work(
    processes: Processes,
) -> None:
    processes.site.engine.hold()
    held = asyncio.create_task(processes.ask(hold=True))
    await asyncio.wait_for(processes.site.engine.held.wait(), 60)
    await processes.kill("hub")
    processes.site.engine.release()
    reply = await held
    assert reply.status == 503
    assert "may have run" in reply.body["error"]["message"]
    assert reply.headers["x-should-retry"] == "false"
    assert (await processes.ask(n=2)).body == {"model": MODEL, "n": 2}


async def test_while_the_hub_is_away_callers_may_repeat(processes: Processes) -> None:
    stopped = processes.pids("hub")[-1]
    os.kill(stopped, signal.SIGKILL)
    # Before its death is known, a request may be sent to it. It takes seconds to come back.
    await eventually(lambda: stopped in [entry["pid"] for entry in processes.log("process_died")])
    reply = await processes.ask(n=1)
    assert (reply.status, reply.headers["x-should-retry"]) == (503, "true")
    assert int(reply.headers["Retry-After"]) > 0
    await eventually(lambda: processes.pids("hub")[-1] != stopped, seconds=60)
    assert (await processes.ask(n=1)).status == 200


async def test_without_a_controller_all_but_changes_goes_on(processes: Processes) -> None:
    stream = Stream(processes)
    async with stream.flowing():
        await processes.kill("controller")
        await stream.more(8)
    assert set(stream.statuses) == {200}
    catalog = processes.gateway.catalog
    write_catalog(catalog, processes.site, MODEL, "after-the-controller")
    await offered(processes, "after-the-controller")


async def offered(processes: Processes, model: str) -> None:
    """Wait until every web process has taken up a new model."""

    async def by_all() -> bool:
        return 404 not in {(await processes.ask(model)).status for _ in range(8)}

    await eventually_so(by_all, seconds=60, every_s=0.1)


async def test_postgresql_may_be_restarted_under_load(processes: Processes) -> None:
    stream = Stream(processes)
    async with stream.flowing():
        await processes.postgresql.stop()
        await stream.more(20)
        checks = (await processes.ready()).body["checks"]
        assert [part for part, fit in checks.items() if not fit] == ["database"]
        assert (await processes.ready()).status == 200
        await processes.postgresql.start()
        await settled(processes)
        await stream.more(20)
    assert set(stream.statuses) == {200}
    write_catalog(processes.gateway.catalog, processes.site, MODEL, "after-postgresql")
    await offered(processes, "after-postgresql")


async def test_redis_may_be_restarted_under_load(processes: Processes) -> None:
    stream = Stream(processes)
    async with stream.flowing():
        await processes.redis.stop()
        await stream.more(20)
        checks = (await processes.ready()).body["checks"]
        assert [part for part, fit in checks.items() if not fit] == ["redis"]
        await processes.redis.start()
        await settled(processes)
        await stream.more(20)
    assert set(stream.statuses) == {200}


async def test_a_gateway_that_is_told_to_end_lets_requests_finish_and_leaves_nothing(
    processes: Processes,
) -> None:
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        # Another one, on the same stores.
        async with processes.served(Path(folder)) as ending:
            processes.site.engine.hold()
            held = asyncio.create_task(ending.ask(hold=True))
            await asyncio.wait_for(processes.site.engine.held.wait(), 60)
            ending.gateway.process.terminate()
            await eventually(lambda: not (Path(folder) / "gateway.json").exists())
            processes.site.engine.release()
            assert (await held).status == 200
            await eventually(lambda: not ending.gateway.process.running, seconds=60)
            assert [pid for name in NAMES for pid in ending.pids(name) if runs(pid)] == []
            assert ending.log("process_killed") == []
    assert (await processes.ask(n=1)).status == 200


async def test_with_a_supervisor_that_is_killed_all_processes_end(processes: Processes) -> None:
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        async with processes.served(Path(folder)) as orphaned:
            pids = [orphaned.pids(name)[-1] for name in NAMES]
            os.kill(orphaned.gateway.process.pid, signal.SIGKILL)
            await eventually(lambda: not any(map(runs, pids)), seconds=60)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
