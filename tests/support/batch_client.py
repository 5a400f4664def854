"""`python -m batch` as a person calls it: a process, what it said, and how it ended."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.stand_in import clean_environment
from tests.support.batch_gateway import BatchService
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]
#: Longer than any of these commands takes on a busy machine (seconds).
LONG_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(slots=True)
class Running:
    """A command that has not ended."""

    process: asyncio.subprocess.Process
    errors: Path

    @property
    def err(self) -> str:
        """What it said beside its results, so far."""
        return self.errors.read_text()

    async def says(self, words: str) -> None:
        """Wait until it has said something."""
        await eventually(lambda: words in self.err, seconds=LONG_S)

    async def ended(self) -> Said:
        """Wait for its end."""
        async with asyncio.timeout(LONG_S):
            out, _ = await self.process.communicate()
        return Said(status=self.process.returncode or 0, out=out.decode(), err=self.err)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody at a machine of their own; `variables` are of the environment."""

    folder: Path
    base_url: str
    token: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    async def batch(self, *words: str | Path) -> Said:
        """Give a command, and wait for its end."""
        async with self.begun(*words) as running:
            return await running.ended()

    @asynccontextmanager
    async def begun(self, *words: str | Path) -> AsyncIterator[Running]:
        """Give a command; what is left of it in the end is killed."""
        environment = clean_environment() | {"OPENAI_BASE_URL": self.base_url}
        environment |= {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": self.token} | self.variables
        errors = self.folder / f"{words[0]}.stderr"
        with errors.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "batch", *words),
                cwd=self.folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stream,
            )
        try:
            yield Running(process, errors)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def person(service: BatchService, folder: Path, name: str) -> Person:
    """Return somebody with a folder of their own, and a token."""
    own = folder / name
    own.mkdir()
    return Person(folder=own, base_url=f"{service.url}/v1", token=service.tokens[name])
