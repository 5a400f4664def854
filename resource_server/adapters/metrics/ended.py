"""What processes counted that have ended: added up in one file of each kind, in place of theirs.

A process leaves some 200 KiB of files, and the page reads every one of them.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import structlog
from prometheus_client.mmap_dict import MmapedDict

from resource_server.adapters.metrics.allocated import AllocatedDict

log = structlog.get_logger()

#: Stands in these files' names where the others have a process.
NAME = "ended"
#: What stays true when a process ends; gauges tell of a present that is over.
KINDS = ("counter", "histogram")


def merge(directory: Path, dead: Iterable[Path]) -> None:
    """Take the files of dead processes away and keep what they counted.

    The caller holds the directory's lock, so that nobody reads meanwhile. A disk without room for
    the sum leaves the files as they are.
    """
    by_kind = defaultdict(list)
    for file in dead:
        by_kind[file.name.partition("_")[0]].append(file)
    for kind in KINDS:
        if files := by_kind.pop(kind, None):
            _add_up(directory / f"{kind}_{NAME}.db", files)
    for files in by_kind.values():
        _remove(files)


def _add_up(target: Path, files: list[Path]) -> None:
    sums: defaultdict[str, float] = defaultdict(float)
    for file in (target, *files):
        for key, value in _values(file):
            sums[key] += value
    draft = target.with_suffix(".new")
    draft.unlink(missing_ok=True)
    try:
        _write(draft, sums)
    except OSError as error:
        log.warning("metrics_not_merged", reason=str(error))
        draft.unlink(missing_ok=True)
        return
    draft.replace(target)
    _remove(files)


def _write(draft: Path, sums: dict[str, float]) -> None:
    """Write the file, or raise `OSError` if there is no room for all of it."""
    file = AllocatedDict(str(draft))
    try:
        for key, value in sums.items():
            file.write_value(key, value, 0.0)
        complete = draft.exists() and file.holds(sums)
    finally:
        file.close()  # type: ignore[no-untyped-call] # by the library
    if not complete:
        raise OSError(f"no room for {draft}")


def _values(file: Path) -> Iterable[tuple[str, float]]:
    """Return what a file holds; one that was never finished holds nothing."""
    if not file.exists() or file.stat().st_size == 0:
        return ()
    try:
        # The library leaves this function without types.
        found = MmapedDict.read_all_values_from_file(file)  # type: ignore[no-untyped-call]
        return [(key, value) for key, value, _, _ in found]
    except (RuntimeError, struct.error) as error:
        log.warning("metrics_unreadable", file=str(file), reason=str(error))
        return ()


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
