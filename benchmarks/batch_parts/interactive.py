"""Callers beside a batch: until the first token, with a batch on the same engine and without one.

The instance job tells runners how many requests callers have; here this does, in the same file.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from batch import whole_file
from batch_parts import runner
from batch_parts.inputs import URL
from batch_parts.stand import Engine
from compute_functions.instance_job.batch_allowance import BatchAllowance
from lab.processes import ProcessFailed

#: A request begins this often (seconds), whatever became of the one before.
EVERY_S = 0.2
#: For batches while there are callers, unless an operator's site.yaml says otherwise.
SHARE = 0.5
#: First tokens may come so much later to them, unless site.yaml says otherwise.
SLOWDOWN = 1.25
#: As often as an instance's job does.
_NEWS_EVERY_S = 0.25
_TOKENS = 8
_FIRST_TOKEN_WITHIN_S = 120.0


@dataclass(slots=True)
class Callers:
    """People who ask one by one, evenly."""

    engine: Engine
    allowance: BatchAllowance
    under_way: int = 0
    first_token_s: list[float] = field(default_factory=list)

    async def ask(self, count: int) -> None:
        """Ask so often, and wait for all answers."""
        async with (
            aiohttp.ClientSession(self.engine.url, headers=self.engine.headers) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(count):
                tasks.create_task(self._one(session, number))
                await asyncio.sleep(EVERY_S)

    async def _one(self, session: aiohttp.ClientSession, number: int) -> None:
        content = f"Caller {number} at {time.monotonic_ns()}: how warm is it?"
        body = {
            "model": self.engine.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": _TOKENS,
            "stream": True,
        }
        self.under_way += 1
        began = time.monotonic()
        self.allowance.came(began)
        try:
            async with (
                asyncio.timeout(_FIRST_TOKEN_WITHIN_S),
                session.post(URL, json=body) as answer,
            ):
                answer.raise_for_status()
                first = True
                async for line in answer.content:
                    if first and line.startswith(b"data: ") and _has_token(line):
                        self._note(time.monotonic() - began, size=len(content))
                        first = False
        finally:
            self.under_way -= 1

    def _note(self, seconds: float, *, size: int) -> None:
        self.first_token_s.append(seconds)
        self.allowance.first_token(seconds=seconds, size=size, now=time.monotonic())


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Seconds until first tokens, alone and beside a batch, which did so many lines a minute."""

    alone: list[float]
    beside: list[float]
    lines_per_min: float


def percentile(seconds: list[float], percent: int) -> float:
    """Return what so many of a hundred do not exceed."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


async def measure(
    folder: Path, source: Path, engine: Engine, *, count: int, rounds: int, share: float
) -> Beside:
    """Ask `count` times alone, and as often while a batch runs that outlasts them; in turn.

    The batch has this share of the engine while there are callers. Each round resumes it: whatever
    else the machine does hits both alike.
    """
    allowance = BatchAllowance(SLOWDOWN)
    # The first ones warm the engine up, and say nothing.
    await Callers(engine, allowance).ask(5)
    alone, beside = Callers(engine, allowance), Callers(engine, allowance)
    done, seconds = 0, 0.0
    for number in range(rounds):
        asked = count * (number + 1) // rounds - count * number // rounds
        await alone.ask(asked)
        async with _batch(folder, source, beside, share) as has_begun:
            await has_begun()
            began, before = time.monotonic(), _recorded(folder / "work")
            await beside.ask(asked)
            done += _recorded(folder / "work") - before
            seconds += time.monotonic() - began
    return Beside(
        alone=alone.first_token_s,
        beside=beside.first_token_s,
        lines_per_min=60 * done / seconds,
    )


@asynccontextmanager
async def _batch(
    folder: Path, source: Path, callers: Callers, share: float
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Run a batch beside the body, as an instance does, and end it."""
    load, work, engine = folder / "load.json", folder / "work", callers.engine
    await asyncio.to_thread(work.mkdir, parents=True, exist_ok=True)
    before = _recorded(work)
    whole_file.replace(work / "control.json", json.dumps({"share": share}).encode())
    options = ["--load", str(load), "--drain-s", "0"]
    if engine.priority is not None:
        options += ["--priority", str(engine.priority)]
    telling = asyncio.create_task(_tell(load, work, callers))
    try:
        async with runner.begun(work, source, engine, *options) as (child, _):

            async def has_begun() -> None:
                await child.until(lambda: _recorded(work) > before, within_s=60.0)

            yield has_begun
            if not child.running:
                raise ProcessFailed("the batch was over before the callers had asked")
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        # Who comes now is alone.
        callers.allowance.look(time.monotonic(), runners=0, lines=0)


async def _tell(load: Path, work: Path, callers: Callers) -> None:
    while True:
        now, told = time.monotonic(), whole_file.read_object(work / "progress.json") or {}
        news = {
            "interactive": max(callers.under_way, int(callers.allowance.has_callers(now))),
            "allowance": callers.allowance.look(
                now, runners=1, lines=int(str(told.get("under_way") or 0))
            ),
            "at": time.time(),
        }
        await asyncio.to_thread(whole_file.replace, load, json.dumps(news).encode())
        await asyncio.sleep(_NEWS_EVERY_S)


def _recorded(folder: Path) -> int:
    told = whole_file.read_object(folder / "progress.json") or {}
    return int(str(told.get("recorded") or 0))


def _has_token(line: bytes) -> bool:
    if line.startswith(b"data: [DONE]"):
        return False
    choices = json.loads(line.removeprefix(b"data: ")).get("choices")
    return bool(choices and choices[0]["delta"].get("content"))
