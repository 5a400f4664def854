"""Hotnode beside a bare proxy and LiteLLM, before one engine: latency, streams, CPU, memory.

    python benchmarks/gateway.py [--quick] [--only relay,raw] [--roles] [--engine]

Every process is real: launcher, relay, hub, web, endpoint agent, local Globus. Only the engine is
not, unless with `--engine`. Every token that it sends is counted where it arrives.

Exit status: 0; 1 if anything was lost, doubled or wrong, unless by LiteLLM; 2 if something did not
start; 130 if it was interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from side_by_side import hotnode, litellm, raw
from side_by_side.measuring import Bench, Plan
from side_by_side.site import MODEL, Instance, Site, mock_engine, real_engine
from side_by_side.subject import Subject
from side_by_side.table import Table

from lab.installing.installation import InstallFailed
from lab.login import LoginFailed
from lab.processes import ProcessFailed
from lab.system.packages import PackageMissing

SUBJECTS = ("raw", *hotnode.TRANSPORTS, hotnode.ROLES, "litellm")
#: For the real engine or not, and in short or not: how many requests at once; how many streams at
#: once, each with so many tokens.
LOADS: dict[tuple[bool, bool], tuple[Sequence[int], Mapping[int, int]]] = {
    (False, False): ((1, 10, 64), {1: 10, 16: 25, 64: 50, 256: 75}),
    (False, True): ((1, 64), {1: 10, 64: 50, 256: 75}),
    (True, False): ((1, 8), {1: 100, 8: 100}),
    (True, True): ((1, 8), {1: 100, 8: 100}),
}
ANSWERS_WITHIN_S = 60.0
ASK_AGAIN_S = 0.2


def main() -> int:
    """Measure, print the table, and return the exit status."""
    options = arguments()
    try:
        return asyncio.run(run(options))
    except (ProcessFailed, LoginFailed, InstallFailed, PackageMissing, TimeoutError) as no:
        print(f"{type(no).__name__}: {no}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # Everything was stopped on the way here.


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", help=f"of {', '.join(SUBJECTS)}, separated by commas")
    parser.add_argument("--quick", action="store_true", help="one short round, some loads left out")
    parser.add_argument("--roles", action="store_true", help="web and hub apart as well")
    parser.add_argument("--engine", action="store_true", help="vLLM with the tiny model")
    parser.add_argument("--lockstep", action="store_true", help="all streams' tokens at one moment")
    parser.add_argument("--without-litellm", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of load, per turn")
    parser.add_argument("--connections", help="requests at once, as 1,10,64; 0 for none")
    parser.add_argument("--streams", help="streams at once, as 1,16,64,256; 0 for none")
    parser.add_argument("--keep", type=Path, help="a new folder for logs, which stays")
    options = parser.parse_args()
    if unknown := wanted(options) - set(SUBJECTS):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    return options


def wanted(options: argparse.Namespace) -> set[str]:
    """Return the subjects to measure, beside the engine itself."""
    names = set(options.only.split(",")) if options.only else set(SUBJECTS) - {hotnode.ROLES}
    if options.roles:
        names.add(hotnode.ROLES)
    return names - {"litellm"} if options.without_litellm else names


def plan(options: argparse.Namespace) -> Plan:
    """Return how much is measured; longer streams where there are many."""
    connections, streams = LOADS[options.engine, options.quick]
    if options.connections:
        connections = [int(number) for number in options.connections.split(",") if number != "0"]
    if options.streams:
        chosen = [int(number) for number in options.streams.split(",") if number != "0"]
        streams = {number: streams.get(number, 75) for number in chosen}
    return Plan(
        rounds=options.rounds or (1 if options.quick else 3),
        seconds=options.seconds or (2.0 if options.quick else 3.0),
        connections=connections,
        streams=streams,
        real=options.engine,
    )


async def run(options: argparse.Namespace) -> int:
    """Start everything, measure, print, stop everything."""
    names = wanted(options)
    if "litellm" in names and (obstacle := await asyncio.to_thread(litellm.install)):
        print(f"LiteLLM is left out: it cannot be installed here.\n{obstacle}", file=sys.stderr)
        names.discard("litellm")
    async with AsyncExitStack() as stack:
        folder = options.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="hotnode-bench-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        engine = (
            real_engine(folder)
            if options.engine
            else mock_engine(folder, lockstep=options.lockstep)
        )
        site = Site(folder, engine, hubs=1 + (hotnode.ROLES in names))
        public_key = await site.enrol("relay")
        instance = await stack.enter_async_context(site.launched())
        stand = hotnode.Hotnode(folder, site, names, public_key=public_key)
        subjects = [
            subject async for subject in started(folder, instance, stand, names=names, stack=stack)
        ]
        for subject in subjects:
            await answers(subject)
        # What the first request started belongs to it.
        subjects = [subject.grown() for subject in subjects]
        bench = Bench(plan(options), folder, engine_pids=instance.engine_pids)
        await bench.measure(subjects)
        show(options, bench, subjects)
        return verdict(bench, subjects)


async def started(
    folder: Path,
    instance: Instance,
    stand: hotnode.Hotnode,
    *,
    names: AbstractSet[str],
    stack: AsyncExitStack,
) -> AsyncIterator[Subject]:
    """Start the subjects and yield them in the table's order."""
    yield raw.engine(instance)
    if "raw" in names:
        yield await stack.enter_async_context(raw.raw(folder, instance))
    if names & {*hotnode.TRANSPORTS, hotnode.ROLES}:
        for subject in await stack.enter_async_context(stand.served(instance)):
            yield subject
    if "litellm" in names:
        yield await stack.enter_async_context(litellm.litellm(folder, instance))


async def answers(subject: Subject) -> None:
    """Wait until a subject answers: a relay may have to dial first."""
    headers = {"authorization": f"Bearer {subject.token}"}
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    url = f"http://127.0.0.1:{subject.port}{subject.path}"
    said = ""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S), aiohttp.ClientSession() as session:
            while True:
                async with session.post(url, json=asked, headers=headers) as answer:
                    if answer.ok:
                        return
                    said = await answer.text()
                await asyncio.sleep(ASK_AGAIN_S)
    except TimeoutError as error:
        raise ProcessFailed(f"{subject.name} does not answer: {said}") from error


def show(options: argparse.Namespace, bench: Bench, subjects: Sequence[Subject]) -> None:
    """Print the table and what it was measured with."""
    planned = plan(options)
    behind = "vLLM with the tiny model" if options.engine else "the mock engine"
    print(
        f"{behind}; {planned.seconds:g} s a turn, medians of {planned.rounds} rounds; "
        f"Python {sys.version.split()[0]}"
    )
    for line in Table(planned, bench.results, subjects).lines():
        print(line)


def verdict(bench: Bench, subjects: Sequence[Subject]) -> int:
    """Say whose answers had faults, and return the exit status; LiteLLM's are its own affair."""
    faulty = [subject.name for subject in subjects if bench.results.faults(subject.name)]
    if faulty:
        print(f"lost, doubled, late or wrong, see the last lines: {', '.join(faulty)}")
    return 1 if set(faulty) - {litellm.NAME} else 0


if __name__ == "__main__":
    sys.exit(main())
