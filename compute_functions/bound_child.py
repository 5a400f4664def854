"""Become the engine, and end with the launcher: `bound_child.py PARENT COMMAND [ARGUMENT ...]`.

A launcher that is killed cannot stop its engine, and an orphan would hold the memory of a node.
The kernel can: it sends the signal asked for here when the parent ends. The request survives the
replacement of this program by the engine's.

It runs as a file with the standard library alone, so that it needs no environment.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
#: The exit status if the launcher was gone before the kernel could be asked.
ORPHANED = 75


def main(arguments: list[str]) -> None:
    """Ask the kernel, then become the command; this does not return."""
    parent, command = int(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(ORPHANED)
    os.execvp(command[0], command)  # noqa: S606 # an argument list from the site's own files


if __name__ == "__main__":
    main(sys.argv[1:])
