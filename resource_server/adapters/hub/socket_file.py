"""The hub's Unix socket: in a folder that only its owner may enter, and of one hub at a time."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What fits into the kernel's `sockaddr_un`, with its closing zero.
_LONGEST = 107
#: Web processes connect in bursts, and a full queue refuses them at once.
BACKLOG = 4096
_OTHERS = 0o077


class HubSocketTaken(RuntimeError):
    """The hub cannot listen where it is told to."""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Yield a socket that listens at `path`, for processes of the same user alone.

    Raises `HubSocketTaken` if another hub listens there, or others could.
    """
    _prepare(path)
    with path.with_suffix(".lock").open("w", encoding="ascii") as lock:
        try:
            # Held until the process ends, however it ends; the socket's file may outlive it.
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HubSocketTaken(f"Another hub listens at {path}.") from error
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(BACKLOG)
            try:
                yield listener
            finally:
                path.unlink(missing_ok=True)


def _prepare(path: Path) -> None:
    if len(os.fsencode(path)) > _LONGEST:
        raise HubSocketTaken(
            f"{path} is too long for a socket ({_LONGEST} bytes). Set HOTNODE_HUB_SOCKET."
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = path.parent.stat()
    if folder.st_uid != os.geteuid() or folder.st_mode & _OTHERS:
        raise HubSocketTaken(
            f"{path.parent} must belong to the hub's user, and to nobody else: chmod 700."
        )
