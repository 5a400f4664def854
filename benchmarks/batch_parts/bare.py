"""The best bare client: aiohttp, and nothing but requests; so many at once, whatever is best."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Iterator, Sequence

import aiohttp

from batch_parts import processor
from batch_parts.inputs import URL
from batch_parts.stand import Engine
from batch_parts.turn import Turn

_TURNS_OF_A_WIDTH = 3


async def best_width(engine: Engine, bodies: Sequence[bytes], widths: Sequence[int]) -> int:
    """Return which of these numbers of requests at once is the fastest.

    The median of three turns each: one would choose by chance.
    """
    # Whoever comes first would warm the engine up for the others.
    await turn(engine, bodies, widths[0])
    speeds: dict[int, list[float]] = {width: [] for width in widths}
    for _ in range(_TURNS_OF_A_WIDTH):
        for width, of in speeds.items():
            of.append((await turn(engine, bodies, width)).tokens_per_s)
    return max(widths, key=lambda width: statistics.median(speeds[width]))


async def turn(engine: Engine, bodies: Sequence[bytes], width: int) -> Turn:
    """Ask everything, so much at once."""
    left, answers = iter(bodies), list[bytes]()
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        engine.url,
        connector=engine.connector(),
        timeout=timeout,
        headers={"Content-Type": "application/json", **engine.headers},
    ) as session:
        used_s, began = processor.used_s(engine.pids), time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(width):
                tasks.create_task(_worker(session, left, answers))
        seconds, used_s = time.monotonic() - began, processor.used_s(engine.pids) - used_s
    # Read when the clock has stopped: a bare client does not look at what it got.
    tokens = sum(json.loads(answer)["usage"]["total_tokens"] for answer in answers)
    return Turn(
        what=f"{width} at once",
        seconds=seconds,
        lines=len(answers),
        tokens=tokens,
        cpu_s=used_s if engine.pids else None,
    )


async def _worker(
    session: aiohttp.ClientSession, left: Iterator[bytes], answers: list[bytes]
) -> None:
    for body in left:
        async with session.post(URL, data=body) as answer:
            answer.raise_for_status()
            answers.append(await answer.read())
