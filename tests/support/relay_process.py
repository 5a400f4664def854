"""One instance's relay in a process of its own, beside an engine that somebody else runs.

    relay_process.py --site-dir DIR --socket PATH --model ID

The site must be enrolled.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from compute_functions.engine_client import Engine
from compute_functions.relay.credentials import Claims, SiteCredentials
from compute_functions.relay.enrolment import Enrolment, key_file
from compute_functions.relay.relay import Relay, Served
from compute_functions.site import SiteDirectory
from lab.processes import Child, Command, running
from lab.stand_in import clean_environment

FRAMEWORK, PATH = "vllm", "/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayProcess:
    """What to run: the relay of an instance of the model, whose engine listens at the socket."""

    site_dir: Path
    socket: Path
    model: str
    name: str = "instance-1"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Child]:
        """Run it beside the body, once it is linked."""
        command = Command(
            name="the relay",
            arguments=[
                # Its own folder must not hide packages: some modules here have their names.
                *(sys.executable, "-P", __file__),
                *("--site-dir", str(self.site_dir), "--socket", str(self.socket)),
                *("--model", self.model, "--name", self.name),
            ],
            log=self.site_dir / f"{self.name}.log",
            environment=clean_environment(),
        )
        before = _links(command.log)
        async with running(command) as child:
            await child.until(lambda: _links(command.log) > before, within_s=30)
            yield child


def _links(log: Path) -> int:
    """Return how many links a log tells of; those of earlier runs included."""
    return log.read_text(encoding="utf-8").count("link_open") if log.exists() else 0


async def main() -> None:
    """Relay until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--site-dir", type=Path, required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--name", required=True)
    given = parser.parse_args()
    site = SiteDirectory(given.site_dir)
    enrolment = Enrolment.read(site)
    if enrolment is None:
        parser.error("the site is not enrolled")
    claims = Claims(
        cluster=enrolment.cluster,
        instance=given.name,
        job="4711",
        framework=FRAMEWORK,
        model=given.model,
    )
    relay = Relay(
        Served(
            instance=given.name,
            engine=Engine(endpoint=given.socket, api_key="the-engine's-key"),
            paths={PATH: PATH},
        ),
        enrolment=enrolment,
        credentials=SiteCredentials(key_file(site), claims),
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    relay.start()
    await stop.wait()
    await relay.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(main())
