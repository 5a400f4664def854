"""All batches of a spool, looked at every second: only what changed is read again."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from compute_functions.batch_spool import view
from compute_functions.batch_spool.folders import BatchFolder, Spool
from compute_functions.batch_spool.view import BatchView
from compute_functions.errors import BatchUnknown, ConfigurationError

log = logging.getLogger(__name__)

#: After a change of a folder it is read in each look for so long: file systems keep times in steps,
#: and a second change within one step shows no other time (seconds).
UNSURE_S = 3.0
#: More than clocks of a cluster differ: what changed so long ago did so long ago (seconds).
OLD_S = 300.0
#: The times of change of the batch's folder and of `work` in it.
_Stamp: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A batch as it was seen, at what stamp, and until when it is read in any case."""

    stamp: _Stamp
    unsure_until: float
    view: BatchView
    #: As texts: looked at thousands of times a second, paths would cost ten times as much.
    folders: tuple[str, str]


@dataclass(slots=True)
class SpoolLook:
    """Looks again and again. Every file of a batch appears, or is replaced, by a name in a folder.

    So the folder's time tells whether anything is new; only an `input.part` grows in place. A batch
    that an instance works on is always read: NFS remembers times of folders for a while. Not for
    several threads.
    """

    spool: Spool
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _damaged: dict[str, str] = field(default_factory=dict)

    def read(self) -> dict[str, BatchView]:
        """Return all batches by id, but for forgotten ones. `OSError` if the disk does not answer.

        A batch whose files are damaged is passed over, and logged once.
        """
        now, wall = self.clock(), time.time()
        forgotten = frozenset(_names(self.spool.forgotten_folder))
        found: dict[str, _Seen] = {}
        for name in _names(self.spool.root):
            seen = None if name in forgotten else self._look(name, now, wall)
            if seen is not None:
                found[name] = seen
        self._seen = found
        return {name: seen.view for name, seen in found.items()}

    def _look(self, name: str, now: float, wall: float) -> _Seen | None:
        known = self._seen.get(name)
        try:
            if known is None:
                return _first(self.spool.folder(name), now, wall)
            stamp = _stamp(*known.folders)
            if stamp != known.stamp:
                until = now + UNSURE_S
                return replace(
                    known, stamp=stamp, unsure_until=until, view=view.read_again(known.view)
                )
            if now < known.unsure_until or _is_worked_on(known.view):
                return replace(known, view=view.read_again(known.view))
        except (BatchUnknown, FileNotFoundError):
            return None  # It was removed between the listing and the reading.
        except ConfigurationError as error:
            self._complain(name, error)
            return None
        return known

    def _complain(self, name: str, error: Exception) -> None:
        if self._damaged.get(name) != str(error):
            log.error("batch_passed_over batch=%s error=%s", name, error)
        self._damaged[name] = str(error)


def _is_worked_on(seen: BatchView) -> bool:
    return not seen.over and seen.state is not None and seen.state.instance is not None


def _first(folder: BatchFolder, now: float, wall: float) -> _Seen:
    """See a batch for the first time. One that is old has changed long ago."""
    folders = str(folder.path), str(folder.work)
    stamp = _stamp(*folders)
    is_old = wall - max(stamp) / 1e9 > OLD_S
    return _Seen(stamp, now if is_old else now + UNSURE_S, view.read(folder), folders)


def _stamp(folder: str, work: str) -> _Stamp:
    return os.stat(folder).st_mtime_ns, os.stat(work).st_mtime_ns  # noqa: PTH116 - see `_Seen.folders`


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
