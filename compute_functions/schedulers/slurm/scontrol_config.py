"""`scontrol show config`: what Slurm lets us see."""

from __future__ import annotations

import re

_PRIVATE = re.compile(r"^PrivateData\s*=\s*(\S.*?)\s*$", re.MULTILINE)


def arguments(clusters: str | None = None) -> list[str]:
    """Return the command."""
    return ["scontrol", *([f"--clusters={clusters}"] if clusters else []), "show", "config"]


def read_sees_all_jobs(text: str) -> bool:
    """Return whether other people's jobs are listed to us."""
    found = _PRIVATE.search(text)
    return found is not None and "jobs" not in found[1].split(",")
