"""Models on Slurm whatever happens: rollovers, power cuts, kill -9, cold starts, Globus calls.

    python benchmarks/lifecycle.py [--quick] [--only rollovers,kills] [--keep FOLDER]

Two real Slurm clusters, with real endpoint agents, site agents, instance jobs and relays; a real
gateway of five processes (two for the web, a hub, a controller, and what keeps them running) on
PostgreSQL and Redis; the local Globus. Only the engine is a small program, so that loading takes a
second or two; walltimes are made to end by `scontrol update EndTime`. Callers do not retry: what
the openai SDK would hide is counted.

Exit status: 0; 1 if a target was missed; 2 if something did not start; 130 if it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable

import program
from lifecycle_parts import table
from lifecycle_parts.measures import calls, cold, kills, power, rollovers, victims
from lifecycle_parts.stand import Stand, stand
from measured import Line


def main() -> int:
    """Measure, print the table, and return the exit status."""
    options = _arguments()
    return program.run(lambda: _run(options))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds of everything")
    return program.chosen(parser, MEASURES)


async def _run(options: argparse.Namespace) -> int:
    lines: list[Line] = []
    with program.folder(options.keep) as folder:
        async with stand(folder) as running:
            for name in options.only:
                print(name, flush=True)
                lines += program.told(await MEASURES[name](running, options.quick))
    return program.status(lines)


async def _rollovers(running: Stand, quick: bool) -> list[Line]:
    return table.about_rollovers(await rollovers.rollovers(running, 2 if quick else 10))


async def _power(running: Stand, quick: bool) -> list[Line]:
    cuts = []
    for _ in range(1 if quick else 3):
        cuts.append(await power.power_cut(running))
        await power.power_on(running, cuts[-1].node)
    return table.about_power(cuts)


async def _kills(running: Stand, quick: bool) -> list[Line]:
    rounds = 1 if quick else 2
    return table.about_kills(
        [await kills.kill(running, victim) for _ in range(rounds) for victim in victims.VICTIMS]
    )


async def _cold(running: Stand, quick: bool) -> list[Line]:
    return table.about_cold([await cold.cold_start(running) for _ in range(2 if quick else 5)])


async def _calls(running: Stand, quick: bool) -> list[Line]:
    return table.about_calls(await calls.calls(running, 20.0 if quick else 60.0))


MEASURES: dict[str, Callable[[Stand, bool], Awaitable[list[Line]]]] = {
    "rollovers": _rollovers,
    "power": _power,
    "kills": _kills,
    "cold": _cold,
    "calls": _calls,
}

if __name__ == "__main__":
    sys.exit(main())
