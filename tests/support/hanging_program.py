"""A program that hangs, with a child that holds its output open as a wrapper script's does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from compute_functions import processes

#: The note gets its name when it is whole.
_CHILD = "sleep 600 & echo $! > {noted}.new; mv {noted}.new {noted}"


@dataclass(frozen=True, slots=True)
class HangingProgram:
    """An executable file, and what runs of it."""

    file: Path

    @property
    def noted(self) -> Path:
        """Where it notes its child's number."""
        return self.file.with_name(f"{self.file.name}.child")

    @property
    def hangs(self) -> bool:
        """Whether it has been run, and has come to hang."""
        return self.noted.exists()

    @property
    def child(self) -> int:
        """Its child's number."""
        return int(self.noted.read_text())

    @property
    def is_gone(self) -> bool:
        """Whether its child has ended, or it was ended before it had one."""
        return not self.hangs or processes.started(self.child) is None


@contextmanager
def hanging_program(file: Path, *, script: str = "CHILD; wait") -> Iterator[HangingProgram]:
    """Write such a program, where CHILD in the script starts the child, and end that at the end."""
    program = HangingProgram(file)
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script.replace('CHILD', _CHILD.format(noted=program.noted))}\n")
    file.chmod(0o755)
    try:
        yield program
    finally:
        if program.hangs:
            with suppress(ProcessLookupError):
                os.kill(program.child, signal.SIGKILL)
