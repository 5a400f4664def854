"""Can the demo run here? Answered in a second, before anything is installed.

Runs with the system's Python and the standard library alone: `python3 -m lab.preflight`.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.installing import preconditions
from lab.installing.recipe import Recipe
from lab.recipes import ENGINES, RECIPES

ROOT = Path(__file__).parents[1]
#: Engines, stand-in, agent and gateway together stay below this (GB).
MEMORY_GB = 6.0
#: The size of .venv (GB; measured).
VENV_GB = 0.6


def main() -> int:
    """Print what is missing and how to get it; return 0 if nothing is."""
    found = list(problems())
    for problem in found:
        print(f"preflight: {problem}", file=sys.stderr)
    if not found:
        print(f"preflight: this machine will do. {_expectation()}", flush=True)
    return 1 if found else 0


def problems() -> Iterator[str]:
    """Return each unmet condition as a sentence with its remedy."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            yield "Python's venv module is missing. On Debian: apt install python3-venv"
            break
    machine = preconditions.Machine.here(ENGINES)
    yield from preconditions.problems(machine, disk_gb=free_gb(missing()))
    memory = _available_memory_gb()
    if memory < MEMORY_GB:
        yield (
            f"{MEMORY_GB:.0f} GB of free memory are needed, here are {memory:.1f} GB. "
            "Stop other programs, or use a larger machine."
        )
    if not _can_listen():
        yield "No port can be opened on 127.0.0.1. Bring the loopback interface up."


def missing() -> list[Recipe]:
    """Return the engines that are not installed yet."""
    return [recipe for name, recipe in RECIPES.items() if not (ENGINES / name).exists()]


def stays_gb(engines: Sequence[Recipe]) -> float:
    """Return what an installation adds to this folder for good."""
    return sum((recipe.installed_gb for recipe in engines), VENV_GB)


def free_gb(engines: Sequence[Recipe]) -> float:
    """Return what must be free for an installation; an engine needs more while it is installed."""
    peaks = [stays_gb(engines[:before]) + recipe.disk_gb for before, recipe in enumerate(engines)]
    return max(peaks, default=0.0)


def _expectation() -> str:
    engines = missing()
    if not engines and (ROOT / ".venv").exists():
        return "Everything is installed; the demo is up in one to two minutes."
    return (
        f"The first run installs {stays_gb(engines):.1f} GB below this folder "
        "and takes three to eight minutes, mostly downloads."
    )


def _available_memory_gb() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) / 1e6
    return 0.0


def _can_listen() -> bool:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
