"""`sbatch --test-only`: when a job would start that is not submitted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from compute_functions.schedulers.slurm import times

_START = re.compile(r"to start at (\S+)")


def arguments(options: Iterable[str]) -> list[str]:
    """Return the command for a job with these options; the job itself does not matter."""
    return ["sbatch", "--test-only", *options, "--wrap=true"]


def read(text: str) -> float | None:
    """Return the start in seconds since the epoch; None if Slurm does not say."""
    found = _START.search(text)
    return times.moment(found[1]) if found else None
