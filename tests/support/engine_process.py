"""The paced engine as a process that can be killed; what it said outlives it."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lab.processes import Child, Command, running
from lab.stand_in import clean_environment
from tests.support import paced_engine


@asynccontextmanager
async def engine_on_socket(folder: Path) -> AsyncIterator[tuple[Child, Path]]:
    """Run an engine; yields it and its socket. It records what it says in the folder, by tag."""
    path = folder / "engine.sock"
    async with running(_command(folder, "--socket", str(path))) as child:
        await child.until(path.exists, within_s=30)
        yield child, path


@asynccontextmanager
async def engine_on_port(folder: Path, port: int) -> AsyncIterator[Child]:
    """Run an engine that listens on the loopback; records likewise."""
    async with running(_command(folder, "--port", str(port))) as child:
        await child.until(lambda: _listens(port), within_s=30)
        yield child


def _command(folder: Path, *place: str) -> Command:
    return Command(
        name="the engine",
        # Its own folder must not hide packages: some modules there have their names.
        arguments=[sys.executable, "-P", paced_engine.__file__, *place, "--record", str(folder)],
        log=folder / "engine.log",
        environment=clean_environment(),
    )


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
