"""A configured endpoint whose agent is kept running, as `enable-on-boot` does it at a site."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.processes import Command, output_of
from lab.unit import Pauses, Unit, enabled

_UP_WITHIN_S = 120.0
_STATUS_WITHIN_S = 60.0
_POLL_S = 0.2
#: The unit of `enable-on-boot` waits a second, always.
_PAUSES = Pauses(first_s=1.0, longest_s=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The agent of one endpoint; `environment` holds the Globus client that it runs as."""

    name: str
    user_dir: Path
    environment: Mapping[str, str]

    def command(self) -> Command:
        """Return the command that such a unit starts; it stays in the foreground."""
        return Command(
            name=f"the endpoint {self.name}",
            arguments=[
                str(Path(sys.executable).with_name("globus-compute-endpoint")),
                "start",
                self.name,
            ],
            log=self.user_dir / f"{self.name}.unit.log",
            environment={**self.environment, "GLOBUS_COMPUTE_USER_DIR": str(self.user_dir)},
        )

    async def running(self) -> bool:
        """Whether the agent shows a sign of life."""
        command = Command(
            name=f"the status of {self.name}",
            arguments=[
                *(sys.executable, "-m", "compute_functions.endpoint", "status"),
                *("--name", self.name, "--user-dir", str(self.user_dir)),
            ],
            log=self.user_dir / f"{self.name}.status.log",
            environment=self.environment,
        )
        status = json.loads(await output_of(command, within_s=_STATUS_WITHIN_S))
        return bool(status["running"])


@asynccontextmanager
async def enabled_endpoint(agent: Agent) -> AsyncIterator[Unit]:
    """Keep the agent running beside the body, which begins when it runs.

    An agent that was killed leaves a fresh process file, with which the next ones refuse to start
    until three heartbeats are over.
    """
    async with enabled(agent.command(), pauses=_PAUSES) as unit:
        async with asyncio.timeout(_UP_WITHIN_S):
            while not await agent.running():  # noqa: ASYNC110 # its files are all that tells
                await asyncio.sleep(_POLL_S)
        yield unit
