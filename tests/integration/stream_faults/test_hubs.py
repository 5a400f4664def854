"""A hub of several processes dies while streams run: it costs its streams, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from lab.gateway import Gateway
from lab.system.postgresql import postgresql
from lab.system.redis import redis
from tests.support.faults import plant
from tests.support.local_globus import LocalGlobus

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(200)]


def processes(running: Gateway) -> dict[str, list[int]]:
    """Return the ids of all processes of each name that have come to serve."""
    found: dict[str, list[int]] = {}
    for line in running.process.command.log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("event") == "process_ready":
            found.setdefault(entry["process"], []).append(entry["pid"])
    return found


async def test_a_hub_that_is_killed_costs_its_streams_and_nothing_else(
    globus: LocalGlobus, tmp_path: Path
) -> None:
    async with postgresql(tmp_path) as database, redis(tmp_path) as cache:
        stores = {"database_url": database.url, "redis_url": cache.url, "workers": "2"}
        async with (
            plant(globus, **stores, catalog_poll_s="0.2") as running,
            running.relay.running(),
        ):
            await running.linked()
            readings = [running.begin(tokens=2000, every_s=0.02) for _ in range(20)]
            for reading in readings:
                await reading.until(b'"n":3,')
            before = processes(running.gateway)
            os.kill(before["hub"][-1], signal.SIGKILL)
            ends = Counter([await running.ended(reading, seconds=30) for reading in readings])
            assert ends == {"error": 20}
            # The next hub knows nothing of them, which their relay learns, and the engine.
            await running.linked()
            async with asyncio.timeout(30):
                for reading in readings:
                    await running.served(reading.tag)[0].hung_up.wait()
            again = [running.begin(tokens=20, every_s=0.01) for _ in range(20)]
            assert [await running.ended(reading) for reading in again] == ["whole"] * 20
            after = processes(running.gateway)
            assert [len(pids) for name, pids in sorted(after.items()) if name != "hub"] == [1] * 3
            assert len(after["hub"]) == 2
