"""Engines for batches and `batch run` as processes: started, stopped and killed by their ids."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lab.stand_in import clean_environment
from tests.support import batch_engine

ROOT = Path(__file__).parents[2]
#: Longer than any of these runs takes on a busy machine (seconds).
LONG_S = 90.0


def line(number: int, text: str | None = None) -> str:
    """Return a line of a batch whose request has this text."""
    content = f"question {number}" if text is None else text
    return json.dumps(
        {
            "custom_id": f"line-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "tiny", "messages": [{"role": "user", "content": content}]},
        }
    )


def write_input(path: Path, lines: Iterable[str]) -> Path:
    """Write an input file."""
    path.write_text("".join(f"{one}\n" for one in lines))
    return path


class BatchEngine:
    """The engine of `tests.support.batch_engine`, which can be killed and started again."""

    def __init__(self, folder: Path, *, delay_s: float, slots: int | None) -> None:
        self.socket = folder / "engine.sock"
        self._record = folder / "asked"
        self._options = ["--delay-s", str(delay_s)]
        if slots is not None:
            self._options += ["--slots", str(slots)]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and return when it listens."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            batch_engine.__file__,
            *("--socket", str(self.socket)),
            *("--record", str(self._record)),
            *self._options,
            stdout=asyncio.subprocess.PIPE,
            env=clean_environment(),
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            assert await self._process.stdout.readline() == b"ready\n"

    async def kill(self) -> None:
        """End it at once. Its socket's file stays, as that of any killed engine."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def dead(self) -> None:
        """Wait until it has ended, by itself or not."""
        if self._process is not None:
            await self._process.wait()

    @property
    def asked(self) -> Counter[str]:
        """How often each text was asked, by all that this engine ever was."""
        if not self._record.exists():
            return Counter()
        return Counter(self._record.read_text().splitlines())


@asynccontextmanager
async def batch_engine_in(
    folder: Path, *, delay_s: float = 0.0, slots: int | None = None
) -> AsyncIterator[BatchEngine]:
    """Run an engine for batches; one with `slots` lets others wait, and tells how many do."""
    engine = BatchEngine(folder, delay_s=delay_s, slots=slots)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.kill()


class BatchRun:
    """One `python -m batch run`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it is there still."""
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.running:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end, and return the exit status."""
        async with asyncio.timeout(LONG_S):
            return await self._process.wait()


@asynccontextmanager
async def batch_run(
    folder: Path,
    *options: str,
    most_file_bytes: int | None = None,
    files: tuple[int, int] | None = None,
) -> AsyncIterator[BatchRun]:
    """Run a batch in its folder; what is left of it is killed in the end.

    `files` are the limits of open files that it finds, soft and hard.
    """
    log = folder.with_name(f"{folder.name}.log")

    def limit() -> None:
        if most_file_bytes is not None:
            # Larger files are refused with an error, not a signal.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_file_bytes, most_file_bytes))
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, files)

    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "batch", "run", "--folder", str(folder), *options),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Under a limit half of a compiled module would be written, for others to stumble over.
            env=clean_environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
            preexec_fn=limit,
        )
    run = BatchRun(process, log)
    try:
        yield run
    finally:
        if run.running:
            process.kill()
            await process.wait()


async def finished(folder: Path, *options: str) -> int:
    """Run a batch to its end, and return the exit status."""
    async with batch_run(folder, *options) as run:
        return await run.ended()


def said(folder: Path) -> list[dict[str, Any]]:
    """Return the JSON objects that runs of a batch wrote to their standard output."""
    log = folder.with_name(f"{folder.name}.log").read_text()
    return [json.loads(one) for one in log.splitlines() if one.startswith("{")]


def outcome(folder: Path) -> dict[str, Any]:
    """Return how a batch ended."""
    found: dict[str, Any] = json.loads((folder / "outcome.json").read_text())
    return found


def progress(folder: Path) -> dict[str, Any]:
    """Return what a runner told last; empty before the first."""
    path = folder / "progress.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def recorded(folder: Path) -> int:
    """Return how many lines a runner said are recorded."""
    return int(str(progress(folder).get("recorded", 0)))


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSONL file; none if there is no file."""
    # Not `splitlines`: a string may have line ends that are none of JSONL's.
    return [json.loads(one) for one in path.read_text().split("\n")[:-1]] if path.exists() else []


def results(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of both result files."""
    return json_lines(folder / "output.jsonl") + json_lines(folder / "errors.jsonl")


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths


def tell(folder: Path, values: dict[str, object]) -> None:
    """Replace a batch's `control.json`."""
    folder.mkdir(exist_ok=True)
    draft = folder / ".control"
    draft.write_text(json.dumps(values))
    os.replace(draft, folder / "control.json")  # noqa: PTH105 - as its overseer does


async def reached(happened: Callable[[], object], run: BatchRun) -> None:
    """Wait until something is so, or the run has ended."""
    async with asyncio.timeout(LONG_S):
        while run.running and not happened():  # noqa: ASYNC110 - files give no event
            await asyncio.sleep(0.02)


async def by_hand(*arguments: str, shown: int = asyncio.subprocess.DEVNULL) -> int:
    """Give `python -m batch` a command, as a person does; returns the exit status."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "batch", *arguments),
        cwd=ROOT,
        stdout=shown,
        stderr=shown,
        env=clean_environment(),
    )
    async with asyncio.timeout(LONG_S):
        return await process.wait()


async def status(folder: Path, *options: str) -> str:
    """Return what `batch status` prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "batch", "status", str(folder), *options),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(),
    )
    async with asyncio.timeout(LONG_S):
        printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()
