"""Processor time: unlike seconds of the clock it says the same beside other work, or nearly so."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Return how much processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used_s(engine_pids: Iterable[int]) -> float:
    """Return what an engine, this process, and those of its children that have ended have used."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    own_s = time.process_time() + ended.ru_utime + ended.ru_stime
    return own_s + sum(cpu_s(pid) for pid in engine_pids)
