"""A compute node: runs Slurm's daemon, outlives it, and takes everything on it along when it ends.

    machine [--hostname NAME] CONTROL SLURMD [ARGUMENT ...]

With a PID namespace of its own it is the namespace's first process: when it ends, the kernel kills
all others at once. Without one it adopts whatever on it loses its parent (as Slurm's job steps do,
which leave the daemon's process group and session), and kills its descendants itself.

SIGTERM cuts the power. On the Unix socket CONTROL it takes one word per connection: `unplug` kills
the daemon and leaves the jobs, `plug` starts it again.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from lab import descent

PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
#: The longest word on the control socket, and more.
_WORD = 16
_POLL_S = 0.002
_INIT = 1


class Machine:
    """The daemon, and the processes that come of it."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._daemon: int | None = None

    def plug(self) -> None:
        """Start the daemon, unless it runs."""
        if self._daemon is not None:
            return
        # Its end is not noted before its number is.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        # A group of its own: a signal for ours is not for the daemon.
        self._daemon = os.posix_spawn(
            self._command[0], self._command, os.environ, setpgroup=0, setsigmask=[]
        )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def unplug(self) -> None:
        """Kill the daemon, and wait until it is gone."""
        if self._daemon is not None:
            os.kill(self._daemon, signal.SIGKILL)
        while self._daemon is not None:
            time.sleep(_POLL_S)

    def reap(self, _number: int, _frame: FrameType | None) -> None:
        """Take note of children that ended; the node ends with a daemon that gave up."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid != self._daemon:
                    continue
                self._daemon = None
                # It has left by itself and said why. One that was killed may be plugged in again.
                if os.WIFEXITED(status):
                    _cut(os.WEXITSTATUS(status))

    def cut(self, _number: int, _frame: FrameType | None) -> None:
        """Lose power."""
        _cut(0)


def main(arguments: list[str]) -> None:
    """Run the node; this does not return."""
    parser = argparse.ArgumentParser(prog="machine")
    parser.add_argument("--hostname")
    parser.add_argument("control", type=Path)
    parser.add_argument("daemon", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    machine = Machine(options.daemon)
    signal.signal(signal.SIGTERM, machine.cut)
    signal.signal(signal.SIGCHLD, machine.reap)
    if options.hostname:
        socket.sethostname(options.hostname)
    _give_up_rights()
    descent.adopt_orphans()
    options.control.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(options.control))
        control.listen()
        machine.plug()
        while True:
            _obey(machine, control)


def _obey(machine: Machine, control: socket.socket) -> None:
    connection, _ = control.accept()
    with connection, suppress(ConnectionError):
        match connection.recv(_WORD):
            case b"plug":
                machine.plug()
            case b"unplug":
                machine.unplug()
            case _:
                return
        connection.sendall(b"done")


def _cut(status: int) -> None:
    """End at once, and everything with us."""
    if os.getpid() != _INIT:
        descent.end_descendants()
    os._exit(status)


def _give_up_rights() -> None:
    """Pass none of the rights in a user namespace on to the daemon and its jobs."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_CAP_AMBIENT)")


if __name__ == "__main__":
    main(sys.argv[1:])
