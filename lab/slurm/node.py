"""A node of a cluster: a process with all that runs on it, whose power can be cut."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from compute_functions import processes
from lab import descent
from lab.slurm.configuration import Files
from lab.slurm.isolation import Isolation
from lab.system.server import Launch, Server

_READY_WITHIN_S = 20.0
_ANSWER_WITHIN_S = 20.0
_POLL_S = 0.002


class NodeIsOff(RuntimeError):
    """Nothing can be done on a node without power."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a node is made of."""

    name: str
    address: str
    slurmd: Path
    isolation: Isolation
    files: Files

    @property
    def control(self) -> Path:
        """The socket of its first process."""
        return self.files.run / f"{self.name}.socket"

    def launch(self) -> Launch:
        """Return how it is switched on."""
        return Launch(
            directory=self.files.home / "spool" / self.name,
            command=self.files.command(self.name, [*self.isolation.prefix(), *self._machine()]),
            ready=lambda _: self.control.exists(),
            within_s=_READY_WITHIN_S,
        )

    def _machine(self) -> list[str]:
        named = ["--hostname", self.name] if self.isolation.names_nodes else []
        slurmd = [str(self.slurmd), "-D", "-N", self.name]
        return [*descent.command("lab.slurm.machine", *named, str(self.control), *slurmd)]


class Node:
    """A node, on or off."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware
        self._server = Server(hardware.launch())

    async def power_on(self) -> None:
        """Switch the node on; nothing happens if it is on."""
        if self._server.pid is None:
            self.hardware.control.unlink(missing_ok=True)
        await self._server.start()

    async def power_off(self) -> None:
        """Cut the power; returns when nothing of the node is left."""
        left = [(pid, processes.started(pid)) for pid in self.processes()]
        await self._server.stop()
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            for pid, start in left:
                # Of the death of a process that is not our child there is no event.
                while start is not None and processes.lives(pid, start):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)

    async def unplug(self) -> None:
        """Kill Slurm's daemon on the node; jobs go on."""
        await self._tell(b"unplug")

    async def plug(self) -> None:
        """Start Slurm's daemon again."""
        await self._tell(b"plug")

    def processes(self) -> set[int]:
        """Return the numbers, as seen from outside, of the processes on the node."""
        pid = self._server.pid
        return set() if pid is None else descent.descendants(pid)

    async def _tell(self, word: bytes) -> None:
        if self._server.pid is None:
            raise NodeIsOff(self.hardware.name)
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            reader, writer = await asyncio.open_unix_connection(str(self.hardware.control))
            try:
                writer.write(word)
                await reader.readexactly(len(b"done"))
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()
