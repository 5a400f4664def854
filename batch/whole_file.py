"""Files that appear or change in one step, so that no reader on any node sees half of one."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whatever was there. Not synced: it is replaced a moment later."""
    with _draft(path, content, lasting=False) as draft:
        draft.replace(path)


def create(path: Path, content: bytes) -> bool:
    """Put `content` at `path` unless something is there; says whether it did.

    By a link, not a rename: of several who try, on several nodes, one succeeds.
    """
    with _draft(path, content, lasting=True) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


def put(draft: Path, path: Path) -> None:
    """Give a file that was written elsewhere in the folder its name, once it lasts."""
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)
    sync_folder(path.absolute().parent)


def read_object(path: Path) -> dict[str, object] | None:
    """Return the JSON object at `path`, or None if there is no file, or no object in it."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def packed(values: object) -> bytes:
    """Return values as the JSON that our files hold."""
    return json.dumps(values, separators=(",", ":"), allow_nan=False).encode()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last: a rename is safe only after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _draft(path: Path, content: bytes, *, lasting: bool) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        yield draft
    finally:
        # The file system may be what failed; the first error is the one to tell.
        with suppress(OSError):
            draft.unlink(missing_ok=True)
