"""Removes batches that nobody asks for any more, and what processes that died left behind."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from compute_functions.batch_spool import control
from compute_functions.batch_spool.fate import Fate
from compute_functions.batch_spool.folders import BatchFolder, Spool
from compute_functions.errors import ConfigurationError

log = logging.getLogger(__name__)

#: A late submission of a forgotten batch is refused for so long (seconds).
TOMBSTONES_KEPT_S = 30 * 86_400.0
#: What was being made or removed for so long was left by a process that died (seconds).
LEFT_KEPT_S = 86_400.0


def forget(spool: Spool, batch: str, *, now: float) -> None:
    """Let a batch be unknown from now on; one that runs is cancelled, and removed by `sweep`."""
    spool.prepare()
    spool.tombstone(batch).touch(mode=0o600)
    folder = spool.folder(batch)
    if not folder.order.exists():
        return
    if not _may_go(folder):
        control.cancel(folder, now=now)
    if _may_go(folder):
        remove(spool, folder)


def is_over(folder: BatchFolder) -> bool:
    """Whether no runner works on it, nor will."""
    if folder.outcome.exists():
        return True
    fate = Fate.read(folder)
    return fate is not None and fate.ended is not None


def _may_go(folder: BatchFolder) -> bool:
    """Whether nobody works on it; of one that is damaged nobody can say."""
    try:
        return is_over(folder)
    except ConfigurationError:
        log.exception("batch_unreadable batch=%s", folder.batch)
        return False


def remove(spool: Spool, folder: BatchFolder) -> None:
    """Take a batch's files away; of several who do, one does."""
    gone = spool.root / f".gone.{secrets.token_hex(8)}"
    try:
        folder.path.rename(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone)


def sweep(spool: Spool, *, running: Collection[str], now: float) -> None:
    """Remove what nobody needs: the agent's work, now and then, in a thread.

    `running` are the batches that some runner may still work on.
    """
    for tombstone in _entries(spool.forgotten_folder):
        folder = spool.folder(tombstone.name)
        if folder.order.exists() and (_may_go(folder) or folder.batch not in running):
            remove(spool, folder)
        elif now - tombstone.stat().st_mtime > TOMBSTONES_KEPT_S:
            tombstone.unlink(missing_ok=True)
    for left in _entries(spool.root, lambda name: name.startswith((".draft.", ".gone."))):
        if now - left.stat().st_mtime > LEFT_KEPT_S:
            # What stays, as files that NFS keeps for who has them open, goes the next time.
            shutil.rmtree(left, ignore_errors=True)


def _entries(folder: Path, wanted: Callable[[str], bool] = bool) -> Iterator[Path]:
    if folder.exists():
        yield from (entry for entry in folder.iterdir() if wanted(entry.name))
