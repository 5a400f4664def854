"""Whether a process of this host still lives, safe against reused process numbers."""

from __future__ import annotations

from pathlib import Path

#: Position of the start time in /proc/PID/stat, counted after the command's closing bracket.
_START_FIELD = 19
#: The state of a process that has ended but was not yet waited for.
_ZOMBIE = "Z"


def started(pid: int) -> int | None:
    """Return when process `pid` began, in the kernel's ticks, or None if it does not live.

    The number and the start time together name a process for as long as the host is up.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == _ZOMBIE else int(fields[_START_FIELD])


def lives(pid: int, start: int) -> bool:
    """Whether the process that began at `start` under number `pid` still runs."""
    return started(pid) == start
