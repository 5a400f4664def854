"""Takes a person's input file into the spool: one that is the same all the while it is read."""

from __future__ import annotations

import errno
import os
import secrets
import time
from pathlib import Path

from batch import whole_file
from compute_functions.batch_access.access import Access, InputFile
from compute_functions.batch_spool import checking
from compute_functions.batch_spool.fate import Fate
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract.batches import BatchOrder, BatchState, LineError
from compute_functions.errors import BatchRefused, NoRoom

_DRAFT = ".input."
#: A copy that was being made for so long was left by a process that died (seconds).
_DRAFT_KEPT_S = 6 * 3_600.0


def receive(folder: BatchFolder, order: BatchOrder, access: Access) -> None:
    """Take the input of a batch whose order came without it: the agent's work, in a thread.

    Whatever is wrong with the input ends the batch; `OSError` is for another try. Several may do
    this at once.
    """
    _sweep(folder.work)
    try:
        with access.input(order) as found:
            require_size(found.size, order, access)
            require_space(folder.work, found.size, access)
            take(folder, found)
    except BatchRefused as error:
        _fail(folder, str(error))
        return
    except NoRoom as error:
        raise OSError(errno.ENOSPC, str(error)) from error
    checking.check(folder, order)


def take(folder: BatchFolder, found: InputFile) -> None:
    """Copy a file that is held to where the batch's input stands; it appears there whole."""
    draft = folder.work / f"{_DRAFT}{secrets.token_hex(8)}"
    try:
        with draft.open("xb") as target:
            found.copy_to(target)
            target.flush()
            os.fsync(target.fileno())
        finish(draft, folder)
    finally:
        draft.unlink(missing_ok=True)


def finish(draft: Path, folder: BatchFolder) -> None:
    """Make a whole file, synced, the batch's input, unless it has one."""
    try:
        os.link(draft, folder.input)
    except FileExistsError:
        return
    whole_file.sync_folder(folder.work)


def require_size(size: int, order: BatchOrder, access: Access) -> None:
    """Refuse an input that is larger than the gateway or the site allows."""
    most = min(order.most_bytes, access.settings.most_bytes)
    if size > most:
        raise BatchRefused(f"the input has {size} bytes, and {most} are allowed")


def require_space(folder: Path, size: int, access: Access) -> None:
    """Put off what would leave less of the disk free than the site wants."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < size + access.settings.keep_free_bytes:
        raise NoRoom("the site's disk for batches is full")


def _fail(folder: BatchFolder, reason: str) -> None:
    error = LineError(code="not_a_file", message=reason)
    Fate(
        at=time.time(),
        ended=BatchState.FAILED,
        reason=reason,
        error_count=1,
        errors=(error,),
    ).decide(folder)


def _sweep(work: Path) -> None:
    for draft in work.glob(f"{_DRAFT}*"):
        if time.time() - draft.stat().st_mtime > _DRAFT_KEPT_S:
            draft.unlink(missing_ok=True)
