"""`scontrol show job`: when a job's walltime ends; an operator may have moved it."""

from __future__ import annotations

import re

from compute_functions.schedulers.slurm import times

#: The job's name comes before it and may hold anything but a blank; a comment comes after it.
_END = re.compile(r"(?:^|\s)EndTime=(\S+)")


def arguments(job_id: str, clusters: str | None = None) -> list[str]:
    """Return the command."""
    return [
        *("scontrol", *([f"--clusters={clusters}"] if clusters else [])),
        *("--oneliner", "show", "job", job_id),
    ]


def read(text: str) -> float | None:
    """Return the end in seconds since the epoch; None while it is not known."""
    found = _END.search(text)
    return times.moment(found[1]) if found else None
