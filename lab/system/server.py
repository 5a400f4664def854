"""A server of the lab that can be stopped and started again while it is in use."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.processes import Child, Command, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a server is run in its folder, and how one sees that the process with an id answers."""

    directory: Path
    command: Command
    ready: Callable[[int], bool]
    within_s: float


class Server:
    """Starts a server's process, and ends it at the latest with the `async with` around it."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._life = AsyncExitStack()
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The id of the server's process, if it runs."""
        return self._child.pid if self._child is not None and self._child.running else None

    @property
    def directory(self) -> Path:
        """Where the server keeps its files."""
        return self._launch.directory

    async def start(self) -> None:
        """Start the server and wait until it answers; nothing happens if it runs."""
        if self.pid is not None:
            return
        await self.stop()
        async with AsyncExitStack() as life:
            child = await life.enter_async_context(running(self._launch.command))
            await child.until(lambda: self._launch.ready(child.pid), within_s=self._launch.within_s)
            self._child, self._life = child, life.pop_all()

    async def stop(self) -> None:
        """Stop the server and wait until it has left."""
        self._child = None
        await self._life.aclose()

    @classmethod
    @asynccontextmanager
    async def started(cls, launch: Launch) -> AsyncIterator[Self]:
        """Run the server beside the body."""
        server = cls(launch)
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


def environment(home: Path) -> Mapping[str, str]:
    """Return an environment in which nothing of ours configures a server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C.UTF-8"}
