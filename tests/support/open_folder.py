"""A folder that every user of the machine can enter, as shared file systems have, and its files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Users and groups that no machine has by name.
ALICE, BOB, MALLORY = 54_101, 54_102, 54_103
PROJECT, OTHERS = 54_201, 54_202

is_root = os.geteuid() == 0


@contextmanager
def open_folder() -> Iterator[Path]:
    """Lend one; pytest's own folders are closed to all but who runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="hotnode-batches-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def owned(path: Path, *, uid: int, gid: int, mode: int) -> Path:
    """Make a folder (a name without a suffix) or a file of somebody's."""
    if path.suffix:
        path.write_text("secret\n")
    else:
        path.mkdir()
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path
