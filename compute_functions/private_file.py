"""Files that only their owner may read, replaced in one step so that no reader sees half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Put `text` at `path` with mode 0600, atomically on one file system."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def lent(path: Path, text: str) -> Iterator[None]:
    """Keep such a file for the length of a `with` block."""
    write(path, text)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
