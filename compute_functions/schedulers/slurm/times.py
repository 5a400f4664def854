"""Slurm's words for durations and moments."""

from __future__ import annotations

import math
import re
from datetime import datetime

_DURATION = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
_DAY_AND_HOURS = re.compile(r"(\d+)-(\d+)")


def duration(text: str) -> float | None:
    """Return `D-HH:MM:SS`, `HH:MM:SS` or `MM:SS` in seconds.

    UNLIMITED, NOT_SET, INVALID, N/A and whatever else is no number are None.
    """
    if match := _DURATION.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if match := _DAY_AND_HOURS.fullmatch(text):
        days, hours = (int(part) for part in match.groups())
        return float((days * 24 + hours) * 3600)
    return None


def moment(text: str) -> float | None:
    """Return a moment in seconds since the epoch; None for N/A, Unknown and the like.

    It is a number under our `SLURM_TIME_FORMAT`; a Slurm that ignores it writes local time.
    """
    if text.isdecimal():
        return float(text) or None
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        return None


def minutes(seconds: float) -> int:
    """Return a walltime in Slurm's unit, the next full minute."""
    return max(1, math.ceil(seconds / 60))


def walltime(seconds: float) -> str:
    """Return a walltime as `HH:MM:00`, the next full minute: Slurm counts in minutes."""
    whole = minutes(seconds)
    return f"{whole // 60:02d}:{whole % 60:02d}:00"
