"""Runs a command, and when that ends, ends everything that came of it: as systemd does for a unit.

    control_group GRACE_S COMMAND [ARGUMENT ...]

SIGTERM is passed on to the command, which is killed if it takes longer than GRACE_S. Without the
rights to make control groups, this is how the orphans of an endpoint are found.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

from lab import descent


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status, as a shell counts it."""
    grace_s, command = int(arguments[0]), arguments[1:]
    descent.adopt_orphans()
    # Until it can be passed on, the wish to end waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.posix_spawnp(command[0], command, os.environ, setsigmask=[])

    def ask(_number: int, _frame: FrameType | None) -> None:
        _send(pid, signal.SIGTERM)
        signal.alarm(grace_s)

    def insist(_number: int, _frame: FrameType | None) -> None:
        _send(pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGALRM, insist)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    status = _ended(pid)
    descent.end_descendants()
    return status


def _ended(command: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
