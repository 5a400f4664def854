"""Where files stand: whole ones below `files`, what is on its way below `incoming`.

Both are on one file system, so that a file becomes whole by one link.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from resource_server.domain import errors
from resource_server.domain.files import is_file_id

#: Whole files are spread over folders by so many letters of their ids.
SPREAD = slice(5, 7)
#: What is written by one upload alone, and what is fetched by whoever is the controller.
UPLOAD, FETCH = ".upload", ".fetch"


class FilesFolder:
    """The folder, of which `reserve_bytes` of its disk are left free."""

    def __init__(self, root: Path, *, reserve_bytes: int) -> None:
        self.root = root
        self._reserve_bytes = reserve_bytes

    def whole(self, file_id: str) -> Path:
        """Return where a file stands once it is whole."""
        _require_id(file_id)
        return self.root / "files" / file_id[SPREAD] / file_id

    def incoming(self, file_id: str, ending: str) -> Path:
        """Return where it is while it comes, in a folder that is there."""
        _require_id(file_id)
        folder = self.root / "incoming"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / f"{file_id}{ending}"

    def require_room(self, length: int = 0) -> None:
        """Raise `FilesUnavailable` unless the disk has room for so many bytes more."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(self.root).free - length < self._reserve_bytes:
            raise errors.FilesUnavailable(
                "The gateway's disk for files is full. The operators must act; try again later."
            )

    def keep(self, file_id: str, part: Path) -> None:
        """Make what is written and synced at `part` a whole file; again changes nothing."""
        whole = self.whole(file_id)
        whole.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            _link(part, whole)
        for folder in (whole.parent, whole.parent.parent):
            sync_folder(folder)
        part.unlink(missing_ok=True)

    def changed_at(self, file_id: str) -> float:
        """Return when a whole file was last changed."""
        return _changed_at(self.whole(file_id))

    def whole_ids(self) -> Iterator[tuple[str, float]]:
        """Yield the id of each whole file, and when it was last changed."""
        for path in (self.root / "files").glob("*/*"):
            with suppress(FileNotFoundError):  # Another process removes files, too.
                if is_file_id(path.name):
                    yield path.name, _changed_at(path)

    def parts(self) -> Iterator[tuple[Path, float]]:
        """Yield each file that is on its way, or was, and when it was last changed."""
        for path in (self.root / "incoming").glob("*"):
            with suppress(FileNotFoundError):  # likewise
                yield path, _changed_at(path)


def _link(part: Path, whole: Path) -> None:
    try:
        os.link(part, whole)
    except FileNotFoundError:
        # Another controller, given up for dead, was as far as this one.
        if not whole.exists():
            raise


def sync_folder(folder: Path) -> None:
    """Have a folder's new entries on the disk: a machine that loses power forgets others."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _changed_at(path: Path) -> float:
    # When it was linked or written last, by the file system's clock.
    return path.stat().st_ctime


def _require_id(file_id: str) -> None:
    if not is_file_id(file_id):
        raise ValueError("no file's id")
