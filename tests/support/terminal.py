"""A terminal of a certain width, and what was written to it."""

from __future__ import annotations

import os
import pty
import struct
import termios
from fcntl import ioctl
from typing import Self, TextIO


class TerminalOf:
    """A terminal with so many columns. What is written to it has its line ends as CR LF."""

    def __init__(self, *, columns: int) -> None:
        self._columns = columns

    def __enter__(self) -> Self:
        self._master, self.slave = pty.openpty()
        ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, self._columns, 0, 0))
        os.set_blocking(self._master, False)
        self.stream: TextIO = os.fdopen(self.slave, "w", encoding="utf-8", closefd=False)
        self._seen = b""
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        os.close(self.slave)
        os.close(self._master)

    @property
    def seen(self) -> str:
        """What was written so far."""
        while True:
            try:
                self._seen += os.read(self._master, 65536)
            except BlockingIOError:
                return self._seen.decode()
