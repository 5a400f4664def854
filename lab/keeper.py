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
from contextlib import suppress
from pathlib import Path

from compute_functions import processes

END = (signal.SIGTERM, signal.SIGINT)


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
    except (FileNotFoundError, ValueError):
        return  # It never started, or was stopped and has removed the file.
    if processes.started(pid) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
