"""A short, private folder on this host's own disk for an engine's socket."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compute_functions.errors import AlreadyRunning, ConfigurationError

#: The kernel's limit for the path of a Unix socket, less its closing zero (bytes).
SOCKET_PATH_LIMIT = 107


@dataclass(frozen=True, slots=True)
class RuntimeDirectory:
    """The folder of one instance; it exists while the instance's launcher runs."""

    path: Path

    @property
    def socket(self) -> Path:
        """Where the engine listens."""
        return self.path / "engine.sock"


@contextmanager
def claimed(root: Path, identity: str) -> Iterator[RuntimeDirectory]:
    """Make the folder for the instance `identity` below `root`, for one launcher at a time.

    It is on a local disk, because sockets and locks work there and not on every shared one, and
    its path is short whatever the site's directory is called. What a killed launcher left is
    removed. Raises `AlreadyRunning`, or `ConfigurationError` for an unusable `root`.
    """
    parent = root.absolute() / f"hotnode-{os.getuid()}"
    directory = RuntimeDirectory(parent / hashlib.sha256(identity.encode()).hexdigest()[:12])
    _check_length(directory.socket)
    _make_private(parent)
    with directory.path.with_suffix(".lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"another launcher runs {identity}") from error
        shutil.rmtree(directory.path, ignore_errors=True)
        directory.path.mkdir(mode=0o700)
        try:
            yield directory
        finally:
            shutil.rmtree(directory.path, ignore_errors=True)


def _check_length(socket: Path) -> None:
    length = len(os.fsencode(socket))
    if length > SOCKET_PATH_LIMIT:
        raise ConfigurationError(
            f"the socket's path {socket} has {length} bytes, {SOCKET_PATH_LIMIT} are possible; "
            "give a shorter --runtime-dir"
        )


def _make_private(path: Path) -> None:
    """Make a folder in a place where others can write, and trust it only if it is ours."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(f"{path} is not a folder that is only ours; remove it")
