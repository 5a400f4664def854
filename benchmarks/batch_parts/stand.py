"""The two engines, each beside a body: the mock, and vLLM with the tiny model by the launcher."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from side_by_side.site import BENCHMARKS, MODEL, Site, real_engine

from lab.processes import Command, running
from lab.stand_in import clean_environment
from lab.system.loopback import free_port

#: So many at once, each for so long: 850 lines a second, which leaves small machines time.
SLOTS, EACH_S = 256, 0.3
READY_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A running engine, and the name of its model; `priority` is what lines of batches get.

    `pids` are its processes, if they are known.

    With a `socket` it listens there, and the URL names nothing.
    """

    url: str
    key_file: Path | None
    socket: Path | None = None
    model: str = MODEL
    priority: int | None = None
    pids: tuple[int, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """What requests to it carry."""
        if self.key_file is None:
            return {}
        key = self.key_file.read_text(encoding="ascii").strip()
        return {"Authorization": f"Bearer {key}"}

    def connector(self) -> aiohttp.BaseConnector:
        """Return what makes connections to it, as many as are asked for."""
        if self.socket is None:
            return aiohttp.TCPConnector(limit=0)
        return aiohttp.UnixConnector(str(self.socket), limit=0)

    async def taken(self) -> int:
        """Return how many requests came to the mock in all."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/taken") as answer:
            return int(await answer.text())


@asynccontextmanager
async def mock(folder: Path) -> AsyncIterator[Engine]:
    """Run the mock engine."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = Command(
        name="the mock engine",
        arguments=[
            *(sys.executable, "-m", "batch_parts.engine", "--port", str(port)),
            *("--slots", str(SLOTS), "--each-s", str(EACH_S)),
        ],
        log=folder / "mock.log",
        environment=clean_environment() | {"PYTHONPATH": str(BENCHMARKS)},
    )
    async with running(command) as child:
        await child.until(lambda: _listens(port), within_s=READY_WITHIN_S)
        yield Engine(url=url, key_file=None, pids=(child.pid,))


@asynccontextmanager
async def vllm(folder: Path) -> AsyncIterator[Engine]:
    """Run vLLM as a site does, without a gateway."""
    site = Site(folder, real_engine(folder), hubs=0)
    site.directory.mkdir(parents=True, exist_ok=True)
    async with site.launched() as instance:
        # As endpoint_configs/engines/vllm-cpu.yaml says.
        yield Engine(
            url=instance.url,
            key_file=instance.key_file,
            priority=100,
            pids=instance.engine_pids,
        )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
