"""Where several processes of one gateway write their metrics, so that any can show them all."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import values

#: Where the client library looks for the directory.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
#: A process that has not touched its files for so long is not there any more (seconds).
GONE_AFTER_S = 30.0


def share(directory: Path) -> None:
    """Write this process's metrics to a directory that several processes share.

    Call it before any metric is made. The processes may be those of several containers: what
    matters is when they touched their files, and not which process ids there are.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not any(_is_alive(file) for file in directory.glob("*.db")):
        empty(directory)
    os.environ[VARIABLE] = str(directory)
    name = _process_name()
    # The library leaves this function without types.
    made = values.MultiProcessValue(process_identifier=lambda: name)  # type: ignore[no-untyped-call]
    values.ValueClass = made


def empty(directory: Path) -> None:
    """Remove what processes wrote that have ended. The one that starts all others calls it."""
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)


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


def _is_alive(file: Path) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - file.stat().st_mtime < GONE_AFTER_S
    return False


def _process_name() -> str:
    # The library takes the file's name apart at underscores.
    return re.sub(r"[^A-Za-z0-9.-]", "-", f"{socket.gethostname()}-{os.getpid()}")
