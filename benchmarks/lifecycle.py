"""Models on Slurm whatever happens: rollovers, power cuts, kill -9, cold starts, Globus calls.

    python benchmarks/lifecycle.py [--quick] [--only rollovers,kills] [--keep FOLDER]

Two real Slurm clusters, with real endpoint agents, site agents, instance jobs and relays, one real
gateway, the local Globus. Only the engine is a small program, so that loading takes a second or
two; walltimes are made to end by `scontrol update EndTime`. Callers do not retry: what the openai
SDK would hide is counted.

Exit status: 0; 1 if a target was missed; 2 if something did not start; 130 if it was interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lifecycle_parts import table
from lifecycle_parts.measures import calls, cold, kills, power, rollovers
from lifecycle_parts.stand import Stand, stand
from lifecycle_parts.table import Line

from lab.login import LoginFailed
from lab.processes import ProcessFailed
from lab.system.packages import PackageMissing


def main() -> int:
    """Measure, print the table, and return the exit status."""
    options = _arguments()
    try:
        return asyncio.run(_run(options))
    except (ProcessFailed, LoginFailed, PackageMissing, TimeoutError) as no:
        print(f"{type(no).__name__}: {no}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # Everything was stopped on the way here.


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds of everything")
    parser.add_argument("--only", help=f"of {', '.join(MEASURES)}, separated by commas")
    parser.add_argument("--keep", type=Path, help="a new folder for logs, which stays")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else list(MEASURES)
    if unknown := set(options.only) - set(MEASURES):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    return options


async def _run(options: argparse.Namespace) -> int:
    lines: list[Line] = []
    with _folder(options.keep) as folder:
        async with stand(folder) as running:
            for name in options.only:
                print(name, flush=True)
                found = await MEASURES[name](running, options.quick)
                for line in found:
                    print(line.text(), flush=True)
                lines += found
    missed = [line.label for line in lines if line.missed]
    if missed:
        print(f"missed: {', '.join(missed)}")
    return 1 if missed else 0


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="hotnode-bench-") as folder:
        yield Path(folder)


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
        [await kills.kill(running, victim) for _ in range(rounds) for victim in kills.VICTIMS]
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
