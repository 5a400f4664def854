"""The gateway as systemd would keep it: started again at the same address when it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from lab import gateway
from lab.processes import Command
from lab.stand_in import StandIn
from lab.unit import Pauses, Unit, enabled

_POLL_S = 0.05
_PAUSES = Pauses(first_s=0.2, longest_s=1.0)
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptGateway:
    """A gateway that is there again soon after its end."""

    url: str
    folder: Path
    unit: Unit
    #: How it is started.
    command: Command

    @property
    def catalog(self) -> Path:
        """The catalog's folder: editing a file there reaches the running gateway."""
        return self.folder / "catalog"

    @property
    def log(self) -> Path:
        """Where it writes what it does."""
        return self.folder / "gateway.log"

    def events(self, name: str, *, after: int = 0) -> list[dict[str, Any]]:
        """Return the lines of its log about an event, if it is one of several processes.

        Those in the first `after` bytes are passed over.
        """
        with self.log.open("rb") as log:
            log.seek(after)
            found = [line for line in log if line.startswith(b"{") and name.encode() in line]
        entries = [json.loads(line) for line in found if line.endswith(b"\n")]
        return [entry for entry in entries if entry["event"] == name]

    def served(self, process: str, *, after: int = 0) -> list[int]:
        """Return the ids of its processes of a name that came to serve, the oldest first."""
        ready = self.events("process_ready", after=after)
        return [entry["pid"] for entry in ready if entry["process"] == process]

    async def answers(self, *, within_s: float) -> None:
        """Wait until it answers."""
        async with (
            asyncio.timeout(within_s),
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=within_s)) as session,
        ):
            while not await _is_ready(session, self.url):  # noqa: ASYNC110 # it gives no sign
                await asyncio.sleep(_POLL_S)

    async def metrics(self) -> str:
        """Return its page of metrics."""
        token = (self.folder / "metrics_token").read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers, raise_for_status=True) as session,
            session.get(f"{self.url}/metrics") as response,
        ):
            return await response.text()


async def _serves(folder: Path, *, log: Path) -> None:
    """Wait until the gateway of this folder serves for the first time."""
    try:
        async with asyncio.timeout(gateway.READY_WITHIN_S):
            while not gateway.ready_file(folder).exists():  # noqa: ASYNC110 # the file is the sign
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        late = f"the gateway did not serve within {gateway.READY_WITHIN_S:g} s: see {log}"
        raise TimeoutError(late) from None


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/ready") as response:
            return response.status == _OK
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def kept_gateway(
    folder: Path, globus: StandIn, *, port: int, **settings: str
) -> AsyncIterator[KeptGateway]:
    """Keep a gateway beside the body; its catalog stands in `folder`/catalog already."""
    command = gateway.command(folder, globus, port=port, **settings)
    gateway.ready_file(folder).unlink(missing_ok=True)
    async with enabled(command, pauses=_PAUSES) as unit:
        await _serves(folder, log=command.log)
        yield KeptGateway(url=gateway.url(folder), folder=folder, unit=unit, command=command)
