"""Used credentials as files: each once, for all processes of a host, also after their restart."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from resource_server.domain import errors

#: Between two looks for files of credentials that have expired (seconds).
SWEEP_EVERY_S = 600.0
#: A file that does not say when its credential expires is kept for so long (seconds).
KEEP_S = 32 * 86_400.0


class RedeemedFiles:
    """A `ports.RedeemedCredentials` in a directory; a file there is one used credential."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._swept_at = -math.inf

    async def redeem(self, cluster: str, name: str, *, expires_at: float) -> bool:
        """Take a credential; tell whether it was unused."""
        file = self._directory / digest(cluster, name)
        try:
            return await asyncio.to_thread(self._create, file, expires_at)
        except OSError as error:
            raise errors.CredentialsUnknown(f"{self._directory}: {error}") from error

    def _create(self, file: Path, expires_at: float) -> bool:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        try:
            number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        with os.fdopen(number, "w", encoding="ascii") as new:
            new.write(str(expires_at))
            new.flush()
            os.fsync(new.fileno())
        _sync(self._directory)
        return True

    def _sweep(self) -> None:
        now = self._clock()
        if now < self._swept_at + SWEEP_EVERY_S:
            return
        self._swept_at = now
        for file in self._directory.iterdir():
            with suppress(FileNotFoundError):  # Another process sweeps, too.
                if _expires_at(file) <= now:
                    file.unlink()


def digest(cluster: str, name: str) -> str:
    """Return under what a credential is remembered; names are up to sites, and may be anything."""
    return hashlib.sha256(f"{cluster}\0{name}".encode()).hexdigest()


def _expires_at(file: Path) -> float:
    try:
        return float(file.read_text(encoding="ascii"))
    except ValueError:
        # A crash came between the file and its content.
        return file.stat().st_mtime + KEEP_S


def _sync(directory: Path) -> None:
    """Have the directory's new entry on the disk: a machine that loses power forgets others."""
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
