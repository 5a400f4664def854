"""What an installer makes in a folder: whole or not at all, and by one installer at a time.

A virtual environment cannot be moved, so it is made in place; a stamp, written last, says that it
is whole and what it was made from. What lacks the right stamp is removed and made anew.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

STAMP = "hotnode.json"
#: Making an empty environment, or fetching a few megabytes (seconds).
STEP_TIMEOUT_S = 300.0

Say = Callable[[str], None]


class InstallFailed(Exception):
    """What was to be installed could not be."""


class Installation(Protocol):
    """What can be installed in a folder."""

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""

    @property
    def title(self) -> str:
        """What people call it."""

    def stamp(self) -> object:
        """Return what it is made from, as JSON: another stamp, another installation."""

    def build(self, say: Say) -> None:
        """Make it in its empty place."""


def is_current(wanted: Installation) -> bool:
    """Whether it is whole and made from what it would be made from now."""
    stamp = wanted.folder / STAMP
    return stamp.exists() and json.loads(stamp.read_text()) == wanted.stamp()


def ensure(wanted: Installation, say: Say) -> None:
    """Make an installation current; cheap when it is, alone when several ask at once."""
    with _only_one(wanted.folder):
        if not is_current(wanted):
            say(f"installing {wanted.title} in {wanted.folder} ...")
            shutil.rmtree(wanted.folder, ignore_errors=True)
            wanted.build(say)
            (wanted.folder / STAMP).write_text(json.dumps(wanted.stamp(), indent=2) + "\n")
    say(f"{wanted.title} is installed in {wanted.folder}")


def make_venv(folder: Path) -> None:
    """Make an empty virtual environment, of this very Python."""
    run([sys.executable, "-m", "venv", str(folder)])


def run(
    command: list[str],
    *,
    timeout_s: float = STEP_TIMEOUT_S,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its good end, or raise `InstallFailed`."""
    try:
        subprocess.run(  # noqa: S603 # an argument list of our own, no shell
            command,
            cwd=folder,
            env=environment,
            timeout=timeout_s,
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        raise InstallFailed(f"{' '.join(command[:3])} failed:\n{error.stderr[-2000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"{' '.join(command[:3])} took over {timeout_s:.0f} s") from error


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
