"""How the nodes of a cluster are kept apart from the rest of the machine, as far as we may."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from enum import StrEnum

_WITHIN_S = 10.0
#: SIGTERM is blocked in `unshare`, which waits for the node's first process; SIGKILL is not, and
#: takes the node along.
_UNSHARE = ("setpriv", "--pdeathsig=KILL", "unshare", "--fork", "--kill-child")
#: A node sees its own processes, name and mounts. It ends with its first process, at once.
_NODE = ("--pid", "--uts", "--mount-proc")


class Isolation(StrEnum):
    """What a node is made of."""

    #: Namespaces made by root.
    NAMESPACES = "namespaces"
    #: Namespaces inside a user namespace, which many machines grant to everybody.
    USER_NAMESPACES = "user-namespaces"
    #: Processes alone: a node has this machine's host name, and its power is cut by killing the
    #: descendants of its first process.
    NONE = "none"

    def prefix(self) -> Sequence[str]:
        """Return what stands before the command of a node's first process."""
        match self:
            case Isolation.NAMESPACES:
                return [*_UNSHARE, *_NODE]
            case Isolation.USER_NAMESPACES:
                return [*_UNSHARE, "--map-current-user", "--keep-caps", *_NODE]
            case Isolation.NONE:
                return []

    @property
    def names_nodes(self) -> bool:
        """Whether a node has a host name of its own."""
        return self is not Isolation.NONE

    def granted(self) -> bool:
        """Whether this machine lets us make such nodes."""
        command = [*self.prefix(), "true"]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=_WITHIN_S, check=False)  # noqa: S603 # our own list
        except OSError:
            return False
        return ended.returncode == 0


def best() -> Isolation:
    """Return the strongest isolation that this machine grants us.

    Root's daemons want to change to a job's account, for which a user namespace of one account
    has no room.
    """
    wanted = Isolation.NAMESPACES if os.geteuid() == 0 else Isolation.USER_NAMESPACES
    return wanted if wanted.granted() else Isolation.NONE
