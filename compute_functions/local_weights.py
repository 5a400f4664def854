"""A copy of a model's weights on the node's own disk, shared by the instances of one host.

A file of the copy that has its original's size and time is whole: it gets its name and its time
when its last byte is written. So a copy that was broken off is gone on with, and one that is there
is used. Locks are held on the local disk: shared by those who use the copy, alone by who writes or
removes it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import TypeAlias

from compute_functions.errors import ConfigurationError, EngineFailed
from compute_functions.runtime_directory import make_private

log = logging.getLogger("hotnode.launcher")

#: What stays free on the disk, for others and for sockets (bytes).
SPARE = 1024**3
_CHUNK = 16 * 1024 * 1024
_LOCK_EVERY_S = 0.5
_TELL_EVERY_S = 1.0
_GB = 1e9
_PART = ".part"

#: Waits until an end is asked for.
Asked: TypeAlias = Callable[[], Coroutine[None, None, str]]
#: Takes fields of the registration, as `Registrar.note`.
Tell: TypeAlias = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file below the original folder; links are followed."""

    name: str
    size: int
    changed: int

    def is_whole(self, folder: Path) -> bool:
        """Whether the copy in this folder is the whole file."""
        with suppress(FileNotFoundError):
            found = (folder / self.name).stat()
            return found.st_size == self.size and int(found.st_mtime) == self.changed
        return False


class _Progress:
    """How far a copy has come; written by its thread, read by the loop."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.given_up = threading.Event()

    def words(self) -> str:
        """Return it for everybody who may see the model."""
        return f"weights: {self.done / _GB:.1f} of {self.total / _GB:.1f} GB copied to the node"


class LocalWeights:
    """The copy of one folder below `root`."""

    def __init__(self, source: Path, root: Path, *, keep: bool, within_s: float) -> None:
        self._source = source
        self._parent = root.absolute() / f"hotnode-weights-{os.getuid()}"
        digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:12]
        self._folder = self._parent / f"{source.name}-{digest}"
        # Not `with_suffix`: names of models have dots, as in Llama-3.1.
        self._lock = self._parent / f"{self._folder.name}.lock"
        self._keep = keep
        self._within_s = within_s

    @asynccontextmanager
    async def at_hand(self, tell: Tell, asked: Asked) -> AsyncIterator[Path | None]:
        """Yield the copy's folder while nobody else may remove it, or None if `asked` came first.

        Yields the original folder if the disk has no room for a copy. Raises `EngineFailed` when it
        takes too long or cannot be read, `ConfigurationError` for a place that is not ours.
        """
        with await asyncio.to_thread(self._locker) as lock:
            path = await self._made(lock, tell, asked)
            try:
                yield path
            finally:
                if not self._keep:
                    await asyncio.to_thread(self._remove, lock)

    def _locker(self) -> BufferedRandom:
        try:
            make_private(self._parent)
            return self._lock.open("a+b")
        except OSError as error:
            raise EngineFailed(f"the weights were not copied: {error.strerror}") from error

    async def _made(self, lock: BufferedRandom, tell: Tell, asked: Asked) -> Path | None:
        making = asyncio.create_task(self._make(lock, tell))
        asking = asyncio.create_task(asked())
        try:
            async with asyncio.timeout(self._within_s):
                await asyncio.wait({making, asking}, return_when=asyncio.FIRST_COMPLETED)
                return await making if making.done() else None
        except TimeoutError as error:
            raise EngineFailed(f"no copy of the weights within {self._within_s:g} s") from error
        except OSError as error:
            raise EngineFailed(f"the weights were not copied: {error.strerror}") from error
        finally:
            for task in (making, asking):
                task.cancel()
                await asyncio.wait({task})

    async def _make(self, lock: BufferedRandom, tell: Tell) -> Path:
        """Return where the weights are, with the copy locked against its removal."""
        files = await asyncio.to_thread(_listing, self._source)
        while True:
            if _locked(lock, fcntl.LOCK_EX):
                has_room = await self._fill(files, tell)
                # Not in one step with the next lock: somebody may remove the copy in between.
                fcntl.flock(lock, fcntl.LOCK_UN)
                if not has_room:
                    return self._source
            if _locked(lock, fcntl.LOCK_SH):
                if await asyncio.to_thread(self._is_whole, files):
                    return self._folder
                fcntl.flock(lock, fcntl.LOCK_UN)
            tell(detail="weights: another instance copies them to the node")
            await asyncio.sleep(_LOCK_EVERY_S)

    async def _fill(self, files: list[_File], tell: Tell) -> bool:
        """Copy what is missing; False if there is no room for it."""
        missing = await asyncio.to_thread(self._missing, files)
        progress = _Progress(sum(file.size for file in missing))
        free = shutil.disk_usage(self._parent).free
        if progress.total + SPARE > free:
            log.warning("weights_not_copied bytes=%s free=%s", progress.total, free)
            return False
        copying = asyncio.create_task(asyncio.to_thread(self._copy, missing, progress))
        try:
            while not copying.done():
                tell(detail=progress.words())
                await asyncio.wait({copying}, timeout=_TELL_EVERY_S)
        finally:
            # A thread cannot be cancelled; it looks between two chunks.
            progress.given_up.set()
            await asyncio.wait({copying})
        copying.result()
        log.info("weights_copied to=%s bytes=%s", self._folder, progress.total)
        return True

    def _missing(self, files: list[_File]) -> list[_File]:
        """Return what must be copied, and remove what no longer belongs to the copy."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        names = {file.name for file in files}
        for found in list(self._folder.rglob("*")):
            if not found.is_dir() and str(found.relative_to(self._folder)) not in names:
                found.unlink()
        return [file for file in files if not file.is_whole(self._folder)]

    def _is_whole(self, files: list[_File]) -> bool:
        return all(file.is_whole(self._folder) for file in files)

    def _copy(self, files: list[_File], progress: _Progress) -> None:
        for file in files:
            target = self._folder / file.name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = target.with_name(target.name + _PART)
            _copy_file(self._source / file.name, part, progress)
            if progress.given_up.is_set():
                return
            if part.stat().st_size != file.size:
                raise OSError(0, f"{file.name} changed while it was copied")
            os.utime(part, (file.changed, file.changed))
            part.replace(target)

    def _remove(self, lock: BufferedRandom) -> None:
        """Remove the copy, unless another instance uses it: then that one will."""
        fcntl.flock(lock, fcntl.LOCK_UN)
        if _locked(lock, fcntl.LOCK_EX):
            shutil.rmtree(self._folder, ignore_errors=True)
            log.info("weights_removed from=%s", self._folder)


def _listing(source: Path) -> list[_File]:
    """Return the regular files below a folder, which must not hold links to folders."""
    files = []
    for path in sorted(source.rglob("*")):
        found = path.stat()
        if stat.S_ISDIR(found.st_mode) and path.is_symlink():
            raise ConfigurationError(f"{path} is a link to a folder: it cannot be copied")
        if stat.S_ISREG(found.st_mode):
            name = str(path.relative_to(source))
            files.append(_File(name=name, size=found.st_size, changed=int(found.st_mtime)))
    return files


def _copy_file(source: Path, target: Path, progress: _Progress) -> None:
    with source.open("rb", buffering=0) as reading, target.open("wb", buffering=0) as writing:
        while not progress.given_up.is_set() and (chunk := reading.read(_CHUNK)):
            view = memoryview(chunk)
            while view:
                view = view[writing.write(view) :]
            progress.done += len(chunk)


def _locked(lock: BufferedRandom, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
