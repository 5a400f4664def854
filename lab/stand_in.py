"""A local Globus, run for the lab."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.processes import Command, running
from local_globus import environment, seed

READY_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """A running local Globus: its address and its folder."""

    url: str
    folder: Path

    @property
    def clients(self) -> Path:
        """The folder with one JSON file, id and secret, for each confidential client."""
        return self.folder / "clients"

    def environment(self) -> dict[str, str]:
        """Return the environment in which Globus is this stand-in."""
        return clean_environment() | environment.for_url(self.url)

    def client(self, name: str) -> dict[str, str]:
        """Return id and secret of a confidential client, as the endpoint agent wants them."""
        found = json.loads((self.clients / f"{name}.json").read_text(encoding="utf-8"))
        return {
            "GLOBUS_COMPUTE_CLIENT_ID": found["client_id"],
            "GLOBUS_COMPUTE_CLIENT_SECRET": found["client_secret"],
        }


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would lead elsewhere."""
    foreign = ("GLOBUS_", "HOTNODE_", "FUNCX_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def client_id(name: str) -> str:
    """Return the fixed id of a seeded client."""
    return next(client.id for client in seed.load().clients if client.name == name)


@asynccontextmanager
async def stand_in(folder: Path, *options: str) -> AsyncIterator[StandIn]:
    """Run a local Globus beside the body, with its state in `folder`, on free ports."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    arguments: Sequence[str] = [sys.executable, "-m", "local_globus", "serve"]
    command = Command(
        name="the local Globus",
        arguments=[*arguments, "--state", str(folder), "--port", "0", "--amqp-port", "0", *options],
        log=folder / "local_globus.log",
        environment=clean_environment(),
    )
    async with running(command) as child:
        await child.until(ready.exists, within_s=READY_WITHIN_S)
        address = json.loads(ready.read_text(encoding="utf-8"))
        yield StandIn(url=address["url"], folder=folder)
