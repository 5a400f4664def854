"""Run pip in another environment, with progress for who waits and a limit on the wait."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lab.installing.installation import InstallFailed, Say

#: A slow mirror needs minutes for 1 GB; more than this is a hang (seconds).
TIMEOUT_S = 1800.0
#: How many of pip's lines an error repeats.
KEPT_LINES = 25


class PipFailed(InstallFailed):
    """pip did not install what it was asked for."""

    def __init__(self, status: int, lines: Iterable[str]) -> None:
        super().__init__(f"pip ended with status {status}:\n  " + "\n  ".join(lines))
        self.status = status


@dataclass(slots=True, kw_only=True)
class Progress:
    """Counts the packages in pip's output and says every so often how far it is.

    The count is for the eye only: nothing depends on pip's wording.
    """

    say: Say
    expected: int
    every: int = 30
    seen: int = 0
    tail: list[str] = field(default_factory=list)

    def line(self, text: str) -> None:
        """Take one line of pip's output."""
        self.tail = [*self.tail[1 - KEPT_LINES :], text]
        if text.startswith(("Collecting ", "Processing ")):
            self.seen += 1
            if self.seen % self.every == 0:
                self.say(f"      {self.seen} of {self.expected} packages fetched")
        elif text.startswith("Installing collected packages"):
            self.say(f"      unpacking {self.expected} packages")


def pins(lock: Path) -> int:
    """Return how many packages a lock names."""
    return sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())


def install_locked(python: Path, lock: Path, say: Say) -> None:
    """Install what a lock with hashes names, and nothing else."""
    progress = Progress(say=say, expected=pins(lock))
    install(python, ["--require-hashes", "--requirement", str(lock)], progress)


def install(python: Path, arguments: list[str], progress: Progress) -> None:
    """Run `pip install` with `arguments` for the environment of `python`, or raise `PipFailed`."""
    command = [str(python), "-m", "pip", "install", "--no-input", "--no-compile", "--no-deps"]
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 # an argument list of our own, no shell
        [*command, "--progress-bar", "off", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            for line in process.stdout or ():
                progress.line(line.rstrip())
            status = process.wait()
        finally:
            watchdog.cancel()
            process.kill()
    if status != 0:
        raise PipFailed(status, progress.tail)
