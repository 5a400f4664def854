"""Batches: a bare client, vLLM's own, the runner, Hotnode whole; before one engine, on one file.

    python benchmarks/batches.py [--quick] [--only mock,vllm,callers,whole,kills]
        [--share 0.5] [--callers 1000] [--seed N] [--keep FOLDER]

`mock` is 150,000 lines before an engine that does a fixed number at a time: throughput, memory over
time, validation, `kill -9`. `vllm` is 1,000 lines before vLLM with the tiny model; `callers` are
people who ask that engine beside a batch; `whole` has gateway, agent and an instance's job on
Slurm; `kills` is a batch there, with a gateway of five processes, during which all of it dies.

(Not `batch.py`: next to it nothing could import the library of that name.)

Exit status: 0; 1 if a target was missed; 2 if something did not start; 130 if it was interrupted.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

import program
from batch_parts import bare, inputs, interactive, resuming, runner, stand, table, validating, whole
from batch_parts import vllm_run_batch as own
from batch_parts.deaths import table as deaths_table
from batch_parts.deaths.resumes import resumes
from batch_parts.deaths.stand import stand as service
from batch_parts.deaths.victims import VICTIMS, drawn
from batch_parts.deaths.whole import survived
from batch_parts.runner import Memory
from batch_parts.table import BARE, RUNNER, VLLM, WHOLE
from batch_parts.turn import Turn
from measured import Line
from side_by_side.site import MODEL

#: Lines, and tokens of each answer, before the real engine.
LINES, TOKENS = 1_000, 32
MANY = 150_000
#: Requests at once, of which the bare client takes the best number.
WIDTHS_REAL, WIDTHS_MOCK = (32, 48, 64, 128), (stand.SLOTS, 2 * stand.SLOTS)
#: Rounds before vLLM, each with a turn of every client: turns of one client differ by a tenth.
ROUNDS_REAL = 10
#: Rounds with all of Hotnode around that engine.
ROUNDS_WHOLE = 6
#: Callers alone, and as many beside a batch, taking turns so often: of fewer than some hundreds the
#: 99th percentile is what happened to one or two.
CALLERS, ROUNDS = 1_000, 4
#: So often something dies during a batch.
KILLS = 20


def main() -> int:
    """Measure, print the table, and return the exit status."""
    options = _arguments()
    return program.run(lambda: _run(options))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer lines, callers and deaths; one round"
    )
    parser.add_argument(
        "--share", type=float, default=interactive.SHARE, help="of the engine, beside callers"
    )
    parser.add_argument(
        "--callers", type=_several, default=CALLERS, help="how many ask, each way, in `callers`"
    )
    parser.add_argument("--seed", type=int, help="whom `kills` hits, and when; else by chance")
    return program.chosen(parser, MEASURES)


def _several(text: str) -> int:
    if (number := int(text)) < ROUNDS * 2:
        raise argparse.ArgumentTypeError(f"at least {ROUNDS * 2}: of fewer nothing can be said")
    return number


async def _run(options: argparse.Namespace) -> int:
    lines: list[Line] = []
    with program.folder(options.keep) as folder:
        for name in options.only:
            print(name, flush=True)
            (folder / name).mkdir()
            lines += program.told(await MEASURES[name](folder / name, options))
    return program.status(lines)


async def _mock(folder: Path, options: argparse.Namespace) -> list[Line]:
    count = MANY // 10 if options.quick else MANY
    source = inputs.write(folder / "in.jsonl", count, model=MODEL, tokens=TOKENS)
    speed = validating.lines_per_s(source)
    bodies = inputs.bodies(source)
    async with stand.mock(folder) as engine:
        width = await bare.best_width(engine, bodies[: count // 20], WIDTHS_MOCK)
        # The bare client needs no more lines than show its speed.
        best = await bare.turn(engine, bodies[: count // 5], width)
        turn, memory = await runner.turn(folder / "run", source, engine)
        resumed = await resuming.resume(folder / "killed", source, engine, count)
    return [
        *table.about_validation(speed),
        *table.about_clients("mock", {BARE: [best], RUNNER: [turn]}),
        *table.about_memory("mock", memory),
        *table.about_resuming(resumed),
    ]


async def _vllm(folder: Path, options: argparse.Namespace) -> list[Line]:
    count, rounds = (LINES // 4, 1) if options.quick else (LINES, ROUNDS_REAL)
    source = inputs.write(folder / "in.jsonl", count, model=MODEL, tokens=TOKENS)
    bodies = inputs.bodies(source)
    widths = WIDTHS_REAL[:2] if options.quick else WIDTHS_REAL
    turns: dict[str, list[Turn]] = defaultdict(list)
    memories: list[Memory] = []
    async with stand.vllm(folder / "served") as engine:
        width = await bare.best_width(engine, bodies[: count // 4], widths)
        clients = [BARE, RUNNER, VLLM]
        for number in range(rounds):
            for name in clients:
                if name == BARE:
                    turn = await bare.turn(engine, bodies, width)
                elif name == RUNNER:
                    turn, memory = await runner.turn(folder / f"run{number}", source, engine)
                    memories.append(memory)
                else:
                    # The served engine has nothing to do meanwhile, and so takes nothing from it.
                    turn = await own.turn(folder / f"own{number}", source)
                turns[name].append(turn)
            # Whoever was first is last in the next round.
            clients.append(clients.pop(0))
    return [*table.about_clients("vLLM", turns), *table.about_memory("vLLM", memories[-1])]


async def _callers(folder: Path, options: argparse.Namespace) -> list[Line]:
    # More lines than are done while people ask.
    source = inputs.write(folder / "in.jsonl", 20 * LINES, model=MODEL, tokens=TOKENS)
    async with stand.vllm(folder / "served") as engine:
        count, rounds = options.callers, ROUNDS
        if options.quick:
            count, rounds = min(count, 25), 1
        found = await interactive.measure(
            folder / "batch", source, engine, count=count, rounds=rounds, share=options.share
        )
    return table.about_callers(found)


async def _whole(folder: Path, options: argparse.Namespace) -> list[Line]:
    count, rounds = (LINES // 4, 1) if options.quick else (LINES, ROUNDS_WHOLE)
    source = inputs.write(folder / "in.jsonl", count, model=whole.MODEL, tokens=TOKENS)
    widths = WIDTHS_REAL[:2] if options.quick else WIDTHS_REAL
    found = await whole.turns(folder, source, widths=widths, rounds=rounds)
    return table.about_clients("Slurm", {BARE: found.bare, WHOLE: found.hotnode})


async def _kills(folder: Path, options: argparse.Namespace) -> list[Line]:
    seed = options.seed
    if seed is None:
        seed = random.randrange(10**6)  # noqa: S311 - likewise
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    victims = drawn(len(VICTIMS) if options.quick else KILLS, chance)
    print(f"  --seed {seed}: {', '.join(victims)}", flush=True)
    async with service(folder) as running:
        began = await resumes(running, 1 if options.quick else 4)
        found = await survived(running, victims, chance)
    for miscounted in found.verdict.miscounted:
        print(f"  {miscounted}")
    return [*deaths_table.about_resumes(began), *deaths_table.about_survival(found)]


MEASURES: dict[str, Callable[[Path, argparse.Namespace], Awaitable[list[Line]]]] = {
    "mock": _mock,
    "vllm": _vllm,
    "callers": _callers,
    "whole": _whole,
    "kills": _kills,
}

if __name__ == "__main__":
    sys.exit(main())
