"""What comes of a process: found among all processes, adopted when orphaned, ended as a whole.

Slurm's job steps and daemons leave the group and the session of whoever started them. What they
cannot leave is the line of descent, if its first process adopts orphans.

Programs that use it need nothing but the standard library (`command`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
_ROOT = Path(__file__).parents[1]


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(root: int) -> set[int]:
    """Return the numbers of the processes that come of `root`, without `root` itself."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            parent = int(text.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        waiting += below
        found.update(below)
    return found


def end_descendants() -> None:
    """Kill all that comes of this process, which has adopted orphans, and wait until it is gone."""
    frozen: set[int] = set()
    # Who is frozen has no further children: when no new ones are found, these are all.
    while fresh := descendants(os.getpid()) - frozen:
        _send(fresh, signal.SIGSTOP)
        frozen |= fresh
    _send(frozen, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def command(module: str, *arguments: str) -> Sequence[str]:
    """Return how a module of the lab is run that needs no other packages, nor to be installed."""
    start = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from {module} import main; "
    return [sys.executable, "-I", "-S", "-c", f"{start}sys.exit(main(sys.argv[1:]))", *arguments]


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
