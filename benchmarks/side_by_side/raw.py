"""The bare ASGI proxy, which bounds what Python can do here, and the engine with nothing before."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lab.processes import Command, running
from lab.stand_in import clean_environment
from side_by_side.site import BENCHMARKS, Instance
from side_by_side.subject import GATEWAY, Subject

READY_WITHIN_S = 30.0


def engine(instance: Instance) -> Subject:
    """Return the engine itself."""
    return Subject(name="engine", port=instance.port, token=instance.key)


@asynccontextmanager
async def raw(folder: Path, instance: Instance) -> AsyncIterator[Subject]:
    """Run the proxy beside the body."""
    said = folder / "raw.port"
    key = [] if instance.key_file is None else [str(instance.key_file)]
    command = Command(
        name="the raw proxy",
        arguments=[sys.executable, "-m", "alone.raw_proxy", str(instance.port), *key],
        log=said,
        environment=clean_environment() | {"PYTHONPATH": str(BENCHMARKS)},
    )
    began = time.monotonic()
    async with running(command) as child:
        await child.until(lambda: said.read_text().endswith("\n"), within_s=READY_WITHIN_S)
        start_s = time.monotonic() - began
        yield Subject(
            name="raw",
            port=int(said.read_text().split()[0]),
            processes={GATEWAY: (child.pid,)},
            start_s=start_s,
        )
