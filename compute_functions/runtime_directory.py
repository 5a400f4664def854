"""A short, private folder on this host's own disk for an engine's socket."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from compute_functions.errors import AlreadyRunning, ConfigurationError

#: The kernel's limit for the path of a Unix socket, less its closing zero (bytes).
SOCKET_PATH_LIMIT = 107
_LOCK = ".lock"


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
    make_private(parent)
    with _locked(directory.path) as is_ours:
        if not is_ours:
            raise AlreadyRunning(f"another launcher runs {identity}")
        _sweep(parent)
        directory.path.mkdir(mode=0o700)
        yield directory


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock, and tell whether we do; what was held is removed before and after."""
    path = folder.with_suffix(_LOCK)
    lock = _taken(path)
    if lock is None:
        yield False
        return
    with lock:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield True
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            path.unlink(missing_ok=True)


def _taken(path: Path) -> TextIO | None:
    """Return a lock's file, open and locked; None if somebody else holds it."""
    while True:
        with ExitStack() as unless_taken:
            lock = unless_taken.enter_context(path.open("w", encoding="ascii"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            # Whoever held it may have removed it just now: then another file is the lock.
            if _is_at(path, lock):
                unless_taken.pop_all()
                return lock


def _is_at(path: Path, lock: TextIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock.fileno()))
    except FileNotFoundError:
        return False


def _sweep(parent: Path) -> None:
    """Remove what killed launchers left here: no instance's name comes twice."""
    for lock in parent.glob(f"*{_LOCK}"):
        with _locked(lock.with_suffix("")):
            continue


def _check_length(socket: Path) -> None:
    length = len(os.fsencode(socket))
    if length > SOCKET_PATH_LIMIT:
        raise ConfigurationError(
            f"the socket's path {socket} has {length} bytes, {SOCKET_PATH_LIMIT} are possible; "
            "give a shorter --runtime-dir"
        )


def make_private(path: Path) -> None:
    """Make a folder in a place where others can write, and trust it only if it is ours."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(f"{path} is not a folder that is only ours; remove it")
