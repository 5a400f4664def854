"""Where a request's time goes: gateway and Globus hop apart, in front of the real engine.

    python benchmarks/hops.py [--requests 100] [--concurrency 1 16]

Starts the whole service on this machine (`lab`), asks the tiny model the same question with the
openai SDK, and reads each answer's `Server-Timing`. Prints one table: milliseconds, median and
99th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import openai

from lab import engine
from lab.question import QUESTION, read_server_timing
from lab.service import service

HOPS = ("gateway", "queue", "task", "site", "engine")
PERSON = "alice@example.org"
WARM_UP = 5
TIMEOUT_S = 120.0


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100, help="counted, at each concurrency")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hotnode-hops-") as folder:
        site = Path(folder) / "site"
        async with (
            engine.launched(site) as launcher,
            service(Path(folder), site) as running,
        ):
            await engine.wait_ready(launcher, site)
            token = await running.token_of(PERSON)
            async with openai.AsyncOpenAI(
                base_url=running.base_url, api_key=token, max_retries=0, timeout=TIMEOUT_S
            ) as client:
                await measure(client, requests=WARM_UP, concurrency=1)
                print(f"{'concurrency':12} {'hop':8} {'median':>9} {'p99':>9}   (ms)")
                for concurrency in options.concurrency:
                    timings = await measure(
                        client, requests=options.requests, concurrency=concurrency
                    )
                    show(concurrency, timings)


async def measure(
    client: openai.AsyncOpenAI, *, requests: int, concurrency: int
) -> list[dict[str, float]]:
    """Return the hops of each request; `client` is what the caller saw in all."""
    turns = iter(range(requests))
    timings: list[dict[str, float]] = []

    async def caller() -> None:
        # Callers share the turns, so this is a loop and no comprehension of one's own.
        for _ in turns:
            timing = await ask(client)
            timings.append(timing)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(caller())
    return timings


async def ask(client: openai.AsyncOpenAI) -> dict[str, float]:
    """Ask once and return milliseconds by hop."""
    began = time.perf_counter()
    response = await client.chat.completions.with_raw_response.create(
        model=engine.MODEL_ID,
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=20,
    )
    total = 1000 * (time.perf_counter() - began)
    return read_server_timing(response.headers["server-timing"]) | {"client": total}


def show(concurrency: int, timings: list[dict[str, float]]) -> None:
    """Print the rows of one concurrency."""
    for hop, values in by_hop(timings):
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        median, p99 = statistics.median(values), cuts[98]
        print(f"{concurrency:<12} {hop:8} {median:9.1f} {p99:9.1f}")


def by_hop(timings: list[dict[str, float]]) -> Iterator[tuple[str, list[float]]]:
    """Return each hop's values; `client` is the whole, as the openai SDK saw it."""
    for hop in (*HOPS, "client"):
        yield hop, [timing[hop] for timing in timings]


if __name__ == "__main__":
    asyncio.run(main())
