"""A file of a shared disk that hangs: whoever opens it waits until it is let go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batch import whole_file


@dataclass(frozen=True, slots=True)
class HangingFile:
    """A pipe in the place of a file, which had this content."""

    path: Path
    content: bytes

    @classmethod
    def at(cls, path: Path) -> HangingFile:
        """Let a file hang, whether it is there or not."""
        content = path.read_bytes() if path.exists() else b""
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        return cls(path, content)

    @contextmanager
    def let_go(self) -> Iterator[None]:
        """Let who opened it go on; who writes to it can, for the length of the block.

        Whoever opens the file after that finds one that does not hang.
        """
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            writer = os.open(self.path, os.O_WRONLY)
            whole_file.replace(self.path, self.content)
            os.write(writer, self.content)
            os.close(writer)
            yield
        finally:
            os.close(reader)
