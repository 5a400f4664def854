"""Slurm's programs on this machine, and their version."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.system import packages

_WITHIN_S = 30.0


class VersionUnknown(RuntimeError):
    """The daemon does not say its version in the way that we know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Where the daemons are; the clients' commands are beside `squeue`."""

    munged: Path
    slurmctld: Path
    slurmd: Path
    clients: Path
    version: tuple[int, int]

    @classmethod
    def find(cls) -> Self:
        """Return the programs; raises `PackageMissing`."""
        slurmd = packages.SLURMD.find()
        return cls(
            munged=packages.MUNGE.find(),
            slurmctld=packages.SLURMCTLD.find(),
            slurmd=slurmd,
            clients=packages.SLURM_CLIENT.find().parent,
            version=_version(slurmd),
        )


def _version(slurmd: Path) -> tuple[int, int]:
    said = subprocess.run(  # noqa: S603 # the package's own program
        [slurmd, "-V"], capture_output=True, text=True, check=True, timeout=_WITHIN_S
    ).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None:
        raise VersionUnknown(f"{slurmd} -V says {said!r}")
    return int(found[1]), int(found[2])
