"""`kill -9` of a runner in the middle, and how soon the next one asks for what is pending."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batch.folder import Folder
from batch_parts import processor, runner
from batch_parts.runner import Memory
from batch_parts.stand import EACH_S, SLOTS, Engine
from lab.processes import Child, ProcessFailed

_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A batch that was killed once.

    `after_s` is from the second runner's start to its first request, `cpu_s` the processor time
    that it used until then: on a busy machine that says more. `again` counts lines that were
    asked twice; `allowed` is how many may have been under way, or not yet on the disk.
    `missing` lines have no record, `doubled` ones more than one.
    """

    after_s: float
    cpu_s: float
    recorded: int
    again: int
    allowed: int
    missing: int
    doubled: int
    memory: Memory


async def resume(folder: Path, source: Path, engine: Engine, count: int) -> Resumed:
    """Kill a runner after half of the lines, begin another one, and wait for its end."""
    before = await engine.taken()
    async with runner.begun(folder, source, engine) as (child, _):
        await _until(child, lambda: _recorded(folder) >= count // 2)
        os.kill(child.pid, signal.SIGKILL)
        await child.left(within_s=runner.WITHIN_S)
    recorded, taken = _recorded(folder), await engine.taken()
    began = time.monotonic()
    async with runner.begun(folder, source, engine) as (child, memory):
        while await engine.taken() == taken:
            if not child.running:
                raise ProcessFailed("the second runner asked nothing")
            await asyncio.sleep(_POLL_S)
        after_s, cpu_s = time.monotonic() - began, processor.cpu_s(child.pid)
        await child.left(within_s=runner.WITHIN_S)
    runner.outcome(folder)
    ids = _ids(Folder(folder).output)
    return Resumed(
        after_s=after_s,
        cpu_s=cpu_s,
        recorded=recorded,
        again=await engine.taken() - before - count,
        # What came in a second may be synced a second later, and as much is under way.
        allowed=int(2 * SLOTS / EACH_S) + 2 * SLOTS,
        missing=count - len(set(ids)),
        doubled=len(ids) - len(set(ids)),
        memory=memory,
    )


async def _until(child: Child, happened: Callable[[], bool]) -> None:
    await child.until(happened, within_s=runner.WITHIN_S)


def _recorded(folder: Path) -> int:
    told = Folder(folder).progress() or {}
    return int(str(told.get("recorded") or 0))


def _ids(output: Path) -> list[str]:
    with output.open(encoding="utf-8") as lines:
        return [json.loads(line)["custom_id"] for line in lines]
