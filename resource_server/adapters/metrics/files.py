"""Where several processes of one gateway write their metrics, so that any can show them all."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import values

from resource_server.adapters.metrics import ended
from resource_server.adapters.metrics.allocated import AllocatedDict

#: Where the client library looks for the directory.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
#: A process that has not touched its files for so long is not there any more (seconds).
GONE_AFTER_S = 30.0
#: Then its files go, too; one that was only stopped for a while still had them (seconds).
REMOVED_AFTER_S = 300.0
#: An empty file that a process keeps fresh from before it has any others.
_LIFE = "alive"
_LOCK = "lock"


def share(directory: Path) -> None:
    """Write this process's metrics to a directory that several processes share.

    Call it before any metric is made. The processes may be those of several containers: what
    matters is when they touched their files, and not which process ids there are.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = _process_name()
    with _locked(directory, fcntl.LOCK_EX):
        _tidy(directory)
        # Whoever looks next sees that somebody is here.
        (directory / f"{_LIFE}_{name}.db").touch(mode=0o600)
    os.environ[VARIABLE] = str(directory)
    # The library has no other place where one could say which class it takes.
    values.MmapedDict = AllocatedDict  # type: ignore[attr-defined] # not exported
    # The library leaves this function without types.
    made = values.MultiProcessValue(process_identifier=lambda: name)  # type: ignore[no-untyped-call]
    values.ValueClass = made


def empty(directory: Path) -> None:
    """Remove what processes wrote that have ended. The one that starts all others calls it."""
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)


def _tidy(directory: Path) -> None:
    """Begin at nought if nobody is there, else put together what the dead have left."""
    alive = {_owner(file) for file in _living(directory, GONE_AFTER_S)} - {ended.NAME}
    if not alive:
        empty(directory)
        return
    kept = {_owner(file) for file in _living(directory, REMOVED_AFTER_S)} | {ended.NAME}
    ended.merge(directory, [f for f in directory.glob("*.db") if _owner(f) not in kept])


def _owner(file: Path) -> str:
    return file.stem.rpartition("_")[2]


def _living(directory: Path, within_s: float) -> Iterator[Path]:
    return (file for file in directory.glob("*.db") if _is_alive(file, within_s))


@contextmanager
def reading(directory: Path) -> Iterator[list[str]]:
    """Yield the files to add up, all of which stay while the body reads them."""
    with _locked(directory, fcntl.LOCK_SH):
        yield readable(directory)


@contextmanager
def _locked(directory: Path, how: int) -> Iterator[None]:
    """Hold the directory's lock, which nobody keeps for longer than reading its files takes."""
    with (directory / _LOCK).open("a", encoding="ascii") as lock:
        # Without locks, as on some network file systems, a page may fail while somebody starts.
        with suppress(OSError):
            fcntl.flock(lock, how)
        yield


def shared_directory() -> Path | None:
    """Return where the processes write, or None if there is but one."""
    directory = os.environ.get(VARIABLE)
    return Path(directory) if directory else None


def show_life() -> None:
    """Let the other processes know that this one is there."""
    directory = shared_directory()
    if directory is None:
        return
    for file in directory.glob(f"*_{_process_name()}.db"):
        with suppress(FileNotFoundError):  # Somebody emptied the directory.
            os.utime(file)


def readable(directory: Path) -> list[str]:
    """Return the files to add up.

    Of processes that are gone, what they counted stays true, and what they said of their present
    does not.
    """
    return [str(file) for file in _with_content(directory) if _counts(file)]


def _with_content(directory: Path) -> Iterator[Path]:
    """Yield the files that can be read: one that was just created is empty, and breaks the page."""
    for file in directory.glob("*.db"):
        with suppress(FileNotFoundError):
            if file.stat().st_size > 0:
                yield file


def _counts(file: Path) -> bool:
    return not file.name.startswith("gauge_live") or _is_alive(file)


def _is_alive(file: Path, within_s: float = GONE_AFTER_S) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - file.stat().st_mtime < within_s
    return False


def _process_name() -> str:
    # The library takes the file's name apart at underscores.
    return re.sub(r"[^A-Za-z0-9.-]", "-", f"{socket.gethostname()}-{os.getpid()}")
