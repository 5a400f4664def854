"""Ends the endpoint's agent when the lab ends, however that ends.

    python -m lab.keeper PID_FILE

The agent puts itself into the background, out of our process group: the kernel tells it nothing
when the lab is killed, and it would go on for minutes, looking for a Globus that is gone. This
process is told. It waits for SIGTERM, from the lab or from the kernel, and passes it on to the
agent, if that has not been stopped in the usual way before.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from compute_functions import processes

END = (signal.SIGTERM, signal.SIGINT)
#: The kernel counts a process's start in ticks, and a file's time may be a tick old (seconds).
_INEXACT_S = 1.0


def main(arguments: list[str]) -> int:
    """Wait to be told to end, and end the agent."""
    signal.pthread_sigmask(signal.SIG_BLOCK, END)
    print(f"waiting, to end {arguments[0]}", flush=True)
    signal.sigwait(END)
    end(Path(arguments[0]))
    return 0


def end(pid_file: Path) -> None:
    """Ask the agent that `pid_file` names to end; it ends its own children."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        written_at = pid_file.stat().st_mtime
    except (FileNotFoundError, ValueError):
        return  # It never started, or was stopped and has removed the file.
    ticks = processes.started(pid)
    # A process that began after the file was written has the number of one that is gone.
    if ticks is not None and _moment(ticks) <= written_at + _INEXACT_S:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _moment(ticks: int) -> float:
    """Return when it was, in seconds since the epoch, so many ticks after the machine's start."""
    started_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return started_at + ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
